"""The sink's statements, built once from the columns that `worker.sink_rows` and `worker.sink_tickets` declare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, CursorResult

from worker.columnar import Columns
from worker.sink_rows import DEAD_LETTER, ITEM, ITEM_KEY, PREDICTION, PREDICTION_KEY, TASK_KEY
from worker.sink_tickets import ASSIGNED, ASSIGNMENT
from worker.sink_usual import SENT

# They bound this transaction alone, whatever the session allows.
BOUNDS = "SET LOCAL statement_timeout = '20s'; SET LOCAL lock_timeout = '10s';"


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement and the columns of the rows it takes."""

    columns: Columns
    sql: str

    def run(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> CursorResult[Any]:
        """Run it with `rows`, of which there must be some. Raises RowRefusedError for NaN and infinity."""
        return connection.exec_driver_sql(self.sql, self.columns.parameters(rows))

    def run_first(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> CursorResult[Any]:
        """As `run`, after bounding the transaction, of which it is the first statement: one trip for all."""
        return connection.exec_driver_sql(BOUNDS + self.sql, self.columns.parameters(rows))


def _replacing(columns: Columns, key: Columns) -> str:
    return ", ".join(f"{name} = excluded.{name}" for name in columns.types if name not in key.types)


def _selected(columns: Columns, expressions: Mapping[str, str]) -> str:
    return ", ".join(expressions.get(name, name) for name in columns.types)


# Locks the row of every item, also where it changes nothing, in an order that is the same for all: who writes the
# same items waits here, and all later statements see what the other has done. An entry that could not be read never
# takes the place of one that could. The answer is how many rows are new: a row that was updated carries the updating
# transaction in xmax.
_NEWER_ITEM = f"""
    ORDER BY source COLLATE "C", item_id COLLATE "C"
    ON CONFLICT ({ITEM_KEY}) DO UPDATE SET {_replacing(ITEM, ITEM_KEY)}
    WHERE (excluded.state <> 'dead', excluded.updated_at, excluded.entry_ms, excluded.entry_seq)
        > (old.state <> 'dead', old.updated_at, old.entry_ms, old.entry_seq)
    RETURNING xmax = 0 AS fresh
"""
UPSERT_ITEMS = Statement(
    ITEM,
    f"""
    WITH upserted AS (
        INSERT INTO items AS old ({ITEM}) SELECT {ITEM} FROM {ITEM.table} {_NEWER_ITEM}
    )
    SELECT count(*) FROM upserted WHERE fresh
    """,  # noqa: S608 - constants
)

SELECT_CURRENT = Statement(
    TASK_KEY,
    f"""
    SELECT p.source, p.item_id, p.task, p.model, p.model_version, p.updated_at, p.entry_ms, p.entry_seq
    FROM {TASK_KEY.table} JOIN predictions p USING ({TASK_KEY})
    WHERE p.current
    """,  # noqa: S608
)

CLEAR_CURRENT = Statement(
    PREDICTION_KEY,
    f"""
    UPDATE predictions SET current = false
    WHERE ({PREDICTION_KEY}) IN (SELECT {PREDICTION_KEY} FROM {PREDICTION_KEY.table}) AND current
    """,  # noqa: S608
)

# A result that was made in production gives way only to another such.
_NEWER_PREDICTION = f"""
    ON CONFLICT ({PREDICTION_KEY}) DO UPDATE SET {_replacing(PREDICTION, PREDICTION_KEY)}, created_at = now()
    WHERE (excluded.production, excluded.updated_at, excluded.entry_ms, excluded.entry_seq)
        > (old.production, old.updated_at, old.entry_ms, old.entry_seq)
"""
UPSERT_PREDICTIONS = Statement(
    PREDICTION,
    f"""
    INSERT INTO predictions AS old ({PREDICTION}) SELECT {PREDICTION} FROM {PREDICTION.table} {_NEWER_PREDICTION}
    """,  # noqa: S608
)

_SHARED = {
    name: f"%({name})s" for name in ("received_at", "lane", "kind", "task", "model", "model_version", "stage")
} | {
    "state": "'done'",
    "production": "true",
    "current": "true",
    "route_set": "NULL::text",
    "route_set_version": "NULL::integer",
    "item_created_at": "created_at",
}
# Items and their predictions at once, if all items are new; else the items alone. The answer is as of UPSERT_ITEMS.
WRITE_USUAL = f"""
    {BOUNDS}
    WITH sent AS MATERIALIZED (
        SELECT {SENT} FROM {SENT.table}
    ), upserted AS (
        INSERT INTO items AS old ({ITEM})
        SELECT {_selected(ITEM, _SHARED)} FROM sent {_NEWER_ITEM}
    ), written AS (
        SELECT count(*) AS fresh FROM upserted WHERE fresh
    ), predicted AS (
        INSERT INTO predictions AS old ({PREDICTION})
        SELECT {_selected(PREDICTION, _SHARED)} FROM sent
        WHERE (SELECT fresh FROM written) = %(items)s {_NEWER_PREDICTION}
    )
    SELECT fresh FROM written
"""  # noqa: S608

SELECT_ASSIGNMENTS = Statement(
    ITEM_KEY,
    f"""
    SELECT a.source, a.item_id, a.team, a.status, a.updated_at, a.entry_ms, a.entry_seq
    FROM {ITEM_KEY.table} JOIN assignments a USING ({ITEM_KEY})
    FOR UPDATE OF a
    """,  # noqa: S608
)

WRITE_ASSIGNMENTS = Statement(
    ASSIGNED,
    f"""
    WITH new AS MATERIALIZED (
        SELECT * FROM {ASSIGNED.table}
    ), assigned AS (
        INSERT INTO assignments AS old ({ASSIGNMENT})
        SELECT {ASSIGNMENT} FROM new
        ON CONFLICT ({ITEM_KEY}) DO UPDATE SET {_replacing(ASSIGNMENT, ITEM_KEY)},
            changed_at = CASE WHEN (old.team, old.status) = (excluded.team, excluded.status)
                THEN old.changed_at ELSE excluded.changed_at END
    ), told AS (
        INSERT INTO assignment_events (source, item_id, who, from_team, to_team, why)
        SELECT source, item_id, who, from_team, team, why FROM new WHERE announce
    )
    INSERT INTO outbox (kind, source, item_id, team, payload)
    SELECT kind, source, item_id, team, payload FROM new WHERE announce
    """,  # noqa: S608
)

INSERT_DEAD_LETTERS = Statement(
    DEAD_LETTER,
    f"""
    INSERT INTO dead_letters ({DEAD_LETTER})
    SELECT {DEAD_LETTER} FROM {DEAD_LETTER.table}
    ON CONFLICT (lane, entry_id) DO NOTHING
    """,  # noqa: S608
)
