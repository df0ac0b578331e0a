"""What teams are told: the outbox, who wants it, and each delivery."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, Table, Text, UniqueConstraint, text

from schemas.names import Announcement, DeliveryState
from schemas.tables.columns import count, flag, json_column, metadata, moment, of_item, one_of, row_id

# Written in the transaction that changes what it tells. `payload` holds no text of the item, which may be erased.
# `fanned_out`: its deliveries are made. `delivered_at`: each of them is delivered or has failed for good.
outbox = Table(
    "outbox",
    metadata,
    row_id(),
    Column("kind", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("item_id", Text, nullable=False),
    Column("team", Text, nullable=False),
    json_column("payload"),
    moment("created_at", now=True),
    moment("delivered_at", nullable=True),
    flag("fanned_out", default=False),
    of_item(),
    one_of("kind", Announcement),
    Index("ix_outbox_new", "id", postgresql_where=text("NOT fanned_out")),
    Index("ix_outbox_waiting", "id", postgresql_where=text("delivered_at IS NULL")),
    Index(None, "source", "item_id"),
    Index(None, "delivered_at"),
)

# `team` null: of every team. `secret` signs the requests.
webhooks = Table(
    "webhooks",
    metadata,
    row_id(),
    Column("team", Text),
    Column("url", Text, nullable=False),
    Column("secret", Text, nullable=False),
    flag("enabled", default=True),
    moment("created_at", now=True),
    Column("created_by", Text, nullable=False, server_default=text("''")),
    UniqueConstraint("team", "url", postgresql_nulls_not_distinct=True),
)

# One row per outbox row and receiver. `webhook_id` null: the team's stream.
deliveries = Table(
    "deliveries",
    metadata,
    row_id(),
    Column("outbox_id", BigInteger, ForeignKey("outbox.id", ondelete="CASCADE"), nullable=False),
    Column("webhook_id", BigInteger, ForeignKey("webhooks.id", ondelete="CASCADE")),
    Column("state", Text, nullable=False, server_default=text("'waiting'")),
    count("attempts"),
    Column("status_code", Integer),
    Column("last_error", Text),
    moment("next_attempt_at", now=True),
    moment("delivered_at", nullable=True),
    moment("created_at", now=True),
    one_of("state", DeliveryState),
    UniqueConstraint("outbox_id", "webhook_id", postgresql_nulls_not_distinct=True),
    Index("ix_deliveries_failed", "outbox_id", "id", postgresql_where=text("state = 'failed'")),
    Index(
        "ix_deliveries_calls",
        "webhook_id",
        "next_attempt_at",
        "outbox_id",
        postgresql_where=text("state = 'waiting' AND webhook_id IS NOT NULL"),
    ),
    Index(
        "ix_deliveries_streams",
        "outbox_id",
        postgresql_where=text("state = 'waiting' AND webhook_id IS NULL"),
    ),
    Index(None, "webhook_id"),
)
