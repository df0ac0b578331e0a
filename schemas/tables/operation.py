"""What runs and who may: models, backfills, schedules, API keys."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, PrimaryKeyConstraint, Table, Text, UniqueConstraint, text

from schemas.names import BackfillState, ModelState
from schemas.tables.columns import count, flag, json_column, metadata, moment, one_of, row_id

models = Table(
    "models",
    metadata,
    Column("name", Text, nullable=False),
    Column("version", Text, nullable=False),
    json_column("tasks", "[]"),
    Column("state", Text, nullable=False),
    json_column("manifest", "{}"),
    moment("created_at", now=True),
    moment("state_since", now=True),
    PrimaryKeyConstraint("name", "version"),
    one_of("state", ModelState),
)

# `position` is where to go on reading; `origin` names the file or query, without a password. `skipped` rows had a
# result already. `schedule` names the schedule that started it; `attempts` counts its starts by itself.
backfills = Table(
    "backfills",
    metadata,
    row_id(),
    Column("source", Text, nullable=False),
    Column("origin", Text, nullable=False),
    json_column("options", "{}"),
    Column("state", Text, nullable=False),
    json_column("position", "{}"),
    Column("total", BigInteger),
    count("enqueued"),
    count("refused"),
    count("skipped"),
    Column("first_entry_id", Text),
    Column("last_entry_id", Text),
    Column("schedule", Text),
    Column("error", Text),
    count("attempts"),
    json_column("report", "{}"),
    moment("created_at", now=True),
    moment("changed_at", now=True),
    moment("finished_at", nullable=True),
    one_of("state", BackfillState),
    Index(None, "state"),
)

schedules = Table(
    "schedules",
    metadata,
    row_id(),
    Column("name", Text, nullable=False),
    Column("cron", Text, nullable=False),
    Column("job", Text, nullable=False),
    json_column("options", "{}"),
    flag("enabled", default=True),
    flag("catch_up", default=False),
    Column("timezone", Text, nullable=False, server_default=text("'UTC'")),
    Column("last_outcome", Text),
    Column("created_by", Text, nullable=False, server_default=text("''")),
    moment("last_run_at", nullable=True),
    moment("next_run_at", nullable=True),
    moment("created_at", now=True),
    UniqueConstraint("name"),
)

# Only the hash of a key is kept; `prefix` lets people tell keys apart. `rate_per_minute` null: as the settings say.
api_keys = Table(
    "api_keys",
    metadata,
    row_id(),
    Column("name", Text, nullable=False),
    Column("prefix", Text, nullable=False),
    Column("key_sha256", Text, nullable=False),
    json_column("scopes", "[]"),
    Column("rate_per_minute", Integer),
    moment("created_at", now=True),
    Column("created_by", Text, nullable=False, server_default=text("''")),
    moment("last_used_at", nullable=True),
    moment("expires_at", nullable=True),
    moment("revoked_at", nullable=True),
    UniqueConstraint("key_sha256"),
)
