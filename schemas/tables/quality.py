"""How good the results are: what reviewers said of them, measured evaluations, and alerts when a bound is crossed."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Index, Integer, Table, Text, text

from schemas.names import Measure, ReviewState, Task
from schemas.tables.columns import json_column, metadata, moment, of_item, one_of, row_id

# What was shown to the reviewer (predicted_*, model) and what the reviewer made of it. A claim is held by one
# reviewer at a time. `origin`: why the item was shown (ReviewOrigin). `text_updated_at`: the text that was judged, by
# its items.updated_at. `copies`: near-copies of it that waited beside it; `fingerprint` is the same for texts that
# differ only in signs, case and digits. `before`: what undoing the decision needs, such as the team before.
reviews = Table(
    "reviews",
    metadata,
    row_id(),
    Column("source", Text, nullable=False),
    Column("item_id", Text, nullable=False),
    Column("task", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reviewer", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("label", Text),
    Column("predicted_label", Text),
    Column("predicted_score", Double),
    Column("model", Text),
    Column("model_version", Text),
    moment("text_updated_at", nullable=True),
    Column("copies", Integer, nullable=False, server_default=text("0")),
    Column("fingerprint", Text),
    Column("note", Text),
    json_column("before", "{}"),
    moment("claimed_at", now=True),
    moment("decided_at", nullable=True),
    of_item(),
    one_of("task", Task),
    one_of("state", ReviewState),
    Index("uq_reviews_claimed", "source", "item_id", "task", unique=True, postgresql_where=text("state = 'claimed'")),
    Index(None, "source", "item_id"),
    Index(None, "decided_at"),
    Index(None, "fingerprint"),
    Index(None, "reviewer", "decided_at"),
)

# One measurement of one model version on one set of data.
evaluations = Table(
    "evaluations",
    metadata,
    row_id(),
    Column("task", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("items", BigInteger, nullable=False),
    Column("accuracy", Double),
    Column("macro_f1", Double),
    json_column("metrics", "{}"),
    moment("from_at", nullable=True),
    moment("to_at", nullable=True),
    moment("created_at", now=True),
    one_of("task", Task),
    Index(None, "task", "model", "model_version", "created_at"),
)

# A bound that was crossed, open until `ended_at`. `value` is the newest one measured.
alerts = Table(
    "alerts",
    metadata,
    row_id(),
    Column("measure", Text, nullable=False),
    Column("task", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("value", Double, nullable=False),
    Column("bound", Double, nullable=False),
    Column("message", Text, nullable=False),
    moment("created_at", now=True),
    moment("measured_at", now=True),
    moment("ended_at", nullable=True),
    one_of("task", Task),
    one_of("measure", Measure),
    Index(
        "uq_alerts_open",
        "measure",
        "task",
        "model",
        "model_version",
        unique=True,
        postgresql_where=text("ended_at IS NULL"),
    ),
)
