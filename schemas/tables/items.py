"""Items, what was predicted for them, and entries that could not become items."""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from schemas.names import ItemState, Kind, Lane, Stage, Task
from schemas.tables.columns import entry_columns, flag, json_column, metadata, moment, of_item, one_of, row_id

# The newest entry of each item. A dead item may have no text: nothing of its entry could be trusted.
# (updated_at, entry_ms, entry_seq) decides which of two entries is newer. `lane` is the inbox it came through.
items = Table(
    "items",
    metadata,
    Column("source", Text, nullable=False),
    Column("item_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("text", Text),
    Column("lang", Text),
    Column("state", Text, nullable=False),
    moment("created_at"),
    moment("updated_at"),
    moment("received_at"),
    json_column("meta", "{}"),
    *entry_columns(),
    Column("lane", Text, nullable=False, server_default=text("'live'")),
    PrimaryKeyConstraint("source", "item_id"),
    one_of("kind", Kind),
    one_of("lane", Lane),
    one_of("state", ItemState),
    CheckConstraint("text IS NOT NULL OR state = 'dead'", name="text"),
    Index(None, "received_at"),
)

# One row per item, task and model version; at most one of an item and task is current. `production`: whether the
# model was in production when it made the row. `item_created_at` repeats items.created_at, so that sums over time
# read one table.
predictions = Table(
    "predictions",
    metadata,
    Column("source", Text, nullable=False),
    Column("item_id", Text, nullable=False),
    Column("task", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("score", Double, nullable=False),
    json_column("scores"),
    Column("route_set", Text),
    Column("route_set_version", Integer),
    Column("stage", Text, nullable=False),
    flag("production", default=False),
    flag("current", default=False),
    Column("queue_ms", Double, nullable=False),
    Column("infer_ms", Double, nullable=False),
    *entry_columns(),
    moment("item_created_at"),
    moment("updated_at"),
    moment("created_at", now=True),
    Column("lane", Text, nullable=False, server_default=text("'live'")),
    PrimaryKeyConstraint("source", "item_id", "task", "model", "model_version"),
    of_item(),
    one_of("task", Task),
    one_of("stage", Stage),
    one_of("lane", Lane),
    CheckConstraint("production OR NOT current", name="current"),
    Index("uq_predictions_current", "source", "item_id", "task", unique=True, postgresql_where=text("current")),
    Index("ix_predictions_current_time", "item_created_at", postgresql_where=text("current")),
    Index("ix_predictions_current_source_time", "source", "item_created_at", postgresql_where=text("current")),
    Index("ix_predictions_current_stored", "created_at", postgresql_where=text("current")),
    Index("ix_predictions_low_confidence", "score", postgresql_where=text("current AND score < 0.7")),
    # The review queue, in its order; by `created_at` it passes over what is too old to be shown.
    Index(
        "ix_predictions_unsure",
        *("task", "score", "source", "item_id", "created_at"),
        postgresql_where=text("current AND score < 0.7"),
    ),
)

# `raw` is what schemas.messages.raw_to_json makes of the entry's fields. One row per entry, however often delivered.
dead_letters = Table(
    "dead_letters",
    metadata,
    row_id(),
    Column("lane", Text, nullable=False),
    Column("entry_id", Text, nullable=False),
    Column("source", Text),
    Column("item_id", Text),
    Column("code", Text, nullable=False),
    Column("field", Text, nullable=False),
    Column("message", Text, nullable=False),
    json_column("raw"),
    Column("deliveries", Integer, nullable=False),
    moment("created_at", now=True),
    moment("replayed_at", nullable=True),
    Column("replayed_as", Text),
    Column("replayed_by", Text),
    UniqueConstraint("lane", "entry_id"),
    one_of("lane", Lane),
    Index(None, "created_at"),
    Index(None, "source", "item_id"),
    Index("ix_dead_letters_waiting", "id", postgresql_where=text("replayed_at IS NULL")),
    Index("ix_dead_letters_waiting_code", "code", "id", postgresql_where=text("replayed_at IS NULL")),
    Index("ix_dead_letters_replayed", "id", postgresql_where=text("replayed_at IS NOT NULL")),
)
