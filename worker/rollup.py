"""Folding: many rows of a key in a rollup table become one. What the rows are is in `schemas.tables.rollups`.

Views sum what is there, and so they say the same before and after, and at any moment between: a reader sees all of a
fold or nothing of it. Without folding they stay right and become slow.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import BigInteger, Connection, Engine, Table, TextClause, text

from schemas.database import translated
from schemas.names import ADVISORY_LOCK_ROLLUP
from schemas.tables import rollup_latency, rollup_percentiles, rollup_routing, rollup_sentiment, rollup_throughput

_ROWS_AT_ONCE = 50_000

# Before the rows of an hour are folded, what they say is kept. dash_latency looks at what waits, and all parts of
# one statement see the database as it was when it began.
_PERCENTILES = ", ".join(column.name for column in rollup_percentiles.columns)
_SETTLING = f"""
    waiting AS MATERIALIZED (
        SELECT DISTINCT hour, task, lane FROM rollup_latency WHERE NOT folded
    ), stale AS (
        DELETE FROM rollup_percentiles AS old USING waiting
        WHERE (old.hour, old.task, old.lane) = (waiting.hour, waiting.task, waiting.lane)
    ), settled AS (
        INSERT INTO rollup_percentiles ({_PERCENTILES})
        SELECT {_PERCENTILES} FROM dash_latency JOIN waiting USING (hour, task, lane)
    ),
"""  # noqa: S608 - names of our own columns

# What the views no longer show, with a day to spare.
_EXPIRED = {
    rollup_latency: [
        text("DELETE FROM rollup_latency WHERE hour < now() - interval '8 days'"),
        text("DELETE FROM rollup_percentiles WHERE hour < now() - interval '8 days'"),
    ],
    rollup_throughput: [text("DELETE FROM rollup_throughput WHERE minute < now() - interval '2 days'")],
}


def _folding(table: Table, before: str = "") -> TextClause:
    sums = [column.name for column in table.columns if isinstance(column.type, BigInteger)]
    keys = [column.name for column in table.columns if column.name not in {*sums, "folded"}]
    key, columns = ", ".join(keys), ", ".join([*keys, *sums])
    left = " OR ".join(f"sum({name}) <> 0" for name in sums)
    same = " AND ".join(f"old.{name} = touched.{name}" for name in keys)
    old = ", ".join(f"old.{name}" for name in [*keys, *sums])
    return text(
        f"""
        WITH {before} fresh AS (
            DELETE FROM {table.name}
            WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table.name} WHERE NOT folded LIMIT :rows)) AND NOT folded
            RETURNING {columns}
        ), touched AS (
            SELECT DISTINCT {key} FROM fresh
        ), base AS (
            DELETE FROM {table.name} AS old USING touched WHERE old.folded AND {same} RETURNING {old}
        ), written AS (
            INSERT INTO {table.name} ({columns}, folded)
            SELECT {columns}, true FROM (
                SELECT {key}, {", ".join(f"sum({name}) AS {name}" for name in sums)}
                FROM (SELECT * FROM fresh UNION ALL SELECT * FROM base) AS rows
                GROUP BY {key}
                HAVING {left}
            ) AS folded
        )
        SELECT count(*) FROM fresh
        """  # noqa: S608 - names of our own tables
    )


_FOLDING = {
    **{table: _folding(table) for table in (rollup_sentiment, rollup_routing, rollup_throughput)},
    rollup_latency: _folding(rollup_latency, _SETTLING),
}


@dataclass(frozen=True, slots=True)
class Folded:
    """How many rows were folded into others, by table; empty if another process is at it."""

    rows: dict[str, int]


def fold(engine: Engine) -> Folded:
    """Fold what was added since the last time, in short transactions; meant for once a minute, from anywhere.

    At most one process folds: the others return at once. Raises DatabaseUnavailableError.
    """
    rows: dict[str, int] = {}
    for table, statement in _FOLDING.items():
        while True:
            with translated(), engine.begin() as connection:
                if not _alone(connection):
                    return Folded({})
                folded = connection.execute(statement, {"rows": _ROWS_AT_ONCE}).scalar_one()
                for expiry in _EXPIRED.get(table, ()):
                    connection.execute(expiry)
            rows[table.name] = rows.get(table.name, 0) + folded
            if folded < _ROWS_AT_ONCE:
                break
    return Folded(rows)


def _alone(connection: Connection) -> bool:
    """Whether this transaction is the one that folds; its end gives the lock back."""
    return bool(
        connection.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK_ROLLUP}).scalar_one()
    )
