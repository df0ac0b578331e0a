"""People who log in to the web pages, and their sessions."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, PrimaryKeyConstraint, Table, Text, UniqueConstraint

from schemas.names import Role
from schemas.tables.columns import flag, metadata, moment, one_of, row_id

# `name_key` is the name as it is compared: normalised, case folded. `password_hash` is argon2id's, with salt and costs.
users = Table(
    "users",
    metadata,
    row_id(),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("role", Text, nullable=False),
    flag("enabled", default=True),
    moment("created_at", now=True),
    moment("password_at", now=True),
    moment("last_login_at", nullable=True),
    UniqueConstraint("name_key"),
    one_of("role", Role),
)

# Only the hash of a session's token is kept.
sessions = Table(
    "sessions",
    metadata,
    Column("token_sha256", Text, nullable=False),
    Column("user_id", BigInteger, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    moment("created_at", now=True),
    moment("last_seen_at", now=True),
    moment("expires_at"),
    PrimaryKeyConstraint("token_sha256"),
    Index(None, "user_id"),
    Index(None, "expires_at"),
)
