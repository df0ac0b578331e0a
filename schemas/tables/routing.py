"""Teams and who got what: route sets by version, the assignment of each ticket, and its history."""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

from schemas.names import AssignmentStatus
from schemas.tables.columns import entry_columns, flag, json_column, metadata, moment, of_item, one_of, row_id

# Versions count from 1 and are never changed; one version of a set is current. `rules`: conditions, in order, each
# with its team, that are tried before the model.
route_sets = Table(
    "route_sets",
    metadata,
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    flag("current", default=False),
    moment("created_at", now=True),
    Column("created_by", Text, nullable=False, server_default=text("''")),
    json_column("rules", "[]"),
    PrimaryKeyConstraint("name", "version"),
    CheckConstraint("version >= 1", name="version"),
    Index("uq_route_sets_current", "name", unique=True, postgresql_where=text("current")),
)

routes = Table(
    "routes",
    metadata,
    Column("route_set", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("team", Text, nullable=False),
    Column("position", Integer, nullable=False),
    Column("description", Text, nullable=False, server_default=text("''")),
    json_column("examples", "[]"),
    Column("threshold", Double),
    flag("enabled", default=True),
    flag("by_model", default=True),
    PrimaryKeyConstraint("route_set", "version", "team"),
    ForeignKeyConstraint(["route_set", "version"], ["route_sets.name", "route_sets.version"], ondelete="CASCADE"),
    CheckConstraint("threshold BETWEEN 0 AND 1", name="threshold"),
)

# Where each ticket is. The entry's columns say which entry the model decided by: an older one changes nothing.
# `item_created_at` repeats items.created_at of that entry, so that sums over time read one table. Whoever changes a
# row by hand locks the item's row first, as the sink does.
assignments = Table(
    "assignments",
    metadata,
    Column("source", Text, nullable=False),
    Column("item_id", Text, nullable=False),
    Column("team", Text, nullable=False),
    Column("score", Double),
    Column("status", Text, nullable=False),
    Column("route_set", Text),
    Column("route_set_version", Integer),
    *entry_columns(default=True),
    moment("updated_at", now=True),
    moment("changed_at", now=True),
    moment("created_at", now=True),
    moment("item_created_at", now=True),
    PrimaryKeyConstraint("source", "item_id"),
    of_item(),
    one_of("status", AssignmentStatus),
    Index(None, "team", "changed_at"),
    Index(None, "team", "score"),
)

# `who` is a person, the model's name and version, or the route set's where a rule decided. `from_team` is null for
# the first assignment.
assignment_events = Table(
    "assignment_events",
    metadata,
    row_id(),
    Column("source", Text, nullable=False),
    Column("item_id", Text, nullable=False),
    Column("who", Text, nullable=False),
    moment("at", now=True),
    Column("from_team", Text),
    Column("to_team", Text, nullable=False),
    Column("why", Text, nullable=False, server_default=text("''")),
    of_item(),
    Index(None, "source", "item_id"),
)
