"""Retention: what is older than an age is deleted, in chunks that each are a short transaction of their own.

Erasing one person's item, wherever it is, is `worker.desk.items`'.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, TextClause, text

from schemas.database import translated
from schemas.errors import DatabaseUnavailableError
from schemas.settings import Settings
from worker.desk import prune_sql as sql

T = TypeVar("T")

CHUNK_ROWS = 1_000
_MOST_PAUSE_S = 1.0
_PAUSES_S = (0.5, 1.0, 2.0, 4.0)

Counts = Counter[str]
"""Rows by table."""
TABLES = tuple(sql.COUNT)
"""Every table that something may be deleted from."""


@dataclass(frozen=True, slots=True)
class Ages:
    """How old each may grow; None: for ever. Items take everything that is theirs with them."""

    items: timedelta | None = None
    dead_letters: timedelta | None = None
    backfills: timedelta | None = None
    announcements: timedelta | None = None

    @classmethod
    def of(cls, settings: Settings) -> Ages:
        """As the settings say, for every night."""
        kept = timedelta(days=settings.retention_days) if settings.retention_days else None
        told = timedelta(days=settings.delivered_days) if settings.delivered_days else kept
        return cls(items=kept, dead_letters=kept, backfills=kept, announcements=told)

    @classmethod
    def all(cls, age: timedelta) -> Ages:
        """The same for everything."""
        return cls(age, age, age, age)

    def __bool__(self) -> bool:
        return any(age is not None for age in (self.items, self.dead_letters, self.backfills, self.announcements))


def count(engine: Engine, ages: Ages) -> Counts:
    """How many rows are older now. Raises DatabaseUnavailableError."""
    with translated(), engine.connect() as connection:
        given = {name: moment or "-infinity" for name, moment in _cutoffs(connection, ages).items()}
        return Counter({table: connection.execute(query, given).scalar_one() for table, query in sql.COUNT.items()})


def prune(
    engine: Engine, ages: Ages, *, on_chunk: Callable[[Counts], None] = lambda _: None, chunk_rows: int = CHUNK_ROWS
) -> Counts:
    """Delete what is older now; how many rows of each table.

    Between two chunks it waits as long as the last one took, so that the database is busy with it for half of the
    time at most. What somebody holds locked is left for the next time. Cut off anywhere, it has done whole chunks,
    and running it again does the rest. `on_chunk` is given what has been deleted so far. Raises
    DatabaseUnavailableError after several tries.
    """
    with translated(), engine.connect() as connection:
        before = _cutoffs(connection, ages)
    counts: Counts = Counter(dict.fromkeys(TABLES, 0))
    kinds = {"items": _items, "announcements": _announcements, "dead_letters": _dead_letters, "backfills": _backfills}
    for name, chunks_of in kinds.items():
        moment = before[name]
        chunks = iter(()) if moment is None else chunks_of(engine, moment, chunk_rows)
        began_s = time.monotonic()
        for deleted in chunks:
            counts.update(deleted)
            on_chunk(counts)
            time.sleep(min(_MOST_PAUSE_S, time.monotonic() - began_s))
            began_s = time.monotonic()
    return counts


def _items(engine: Engine, before: datetime, rows: int) -> Iterator[Counts]:
    after: Any = sql.START

    def chunk(connection: Connection) -> tuple[Counts, Any, int]:
        old = connection.execute(sql.LOCK_ITEMS, {**after, "before": before, "rows": rows}).mappings().all()
        keys = {"sources": [row["source"] for row in old], "item_ids": [row["item_id"] for row in old]}
        announced = connection.execute(sql.LOCK_OUTBOX, keys).scalars().all() if old else []
        deleted = _delete_announcements(connection, announced)
        for table, statement in sql.DELETE_BY_ITEM.items():
            deleted[table] = connection.execute(statement, keys).rowcount if old else 0
        return deleted, old[-1] if old else None, len(old)

    locked = rows
    while locked == rows:
        deleted, after, locked = _patiently(engine, chunk)
        yield deleted


def _announcements(engine: Engine, before: datetime, rows: int) -> Iterator[Counts]:
    def chunk(connection: Connection) -> Counts:
        old = connection.execute(sql.LOCK_DELIVERED, {"before": before, "rows": rows}).scalars().all()
        return _delete_announcements(connection, old)

    deleted: Counts = Counter(outbox=rows)
    while deleted["outbox"] == rows:
        deleted = _patiently(engine, chunk)
        yield deleted


def _dead_letters(engine: Engine, before: datetime, rows: int) -> Iterator[Counts]:
    return _rows_of("dead_letters", sql.DELETE_DEAD_LETTERS, engine, before, rows)


def _backfills(engine: Engine, before: datetime, rows: int) -> Iterator[Counts]:
    return _rows_of("backfills", sql.DELETE_BACKFILLS, engine, before, rows)


def _rows_of(table: str, statement: TextClause, engine: Engine, before: datetime, rows: int) -> Iterator[Counts]:
    deleted = rows
    while deleted == rows:
        deleted = _patiently(
            engine, lambda connection: connection.execute(statement, {"before": before, "rows": rows}).rowcount
        )
        yield Counter({table: deleted})


def _delete_announcements(connection: Connection, outbox_ids: Sequence[int]) -> Counts:
    given = {"ids": list(outbox_ids)}
    return Counter(
        {
            table: connection.execute(statement, given).rowcount if outbox_ids else 0
            for table, statement in sql.DELETE_BY_OUTBOX.items()
        }
    )


def _patiently(engine: Engine, chunk: Callable[[Connection], T]) -> T:
    """Run one transaction, again if Postgres asks for it. Raises DatabaseUnavailableError after several tries."""
    for pause_s in (*_PAUSES_S, None):
        try:
            with translated(), engine.begin() as connection:
                return chunk(connection)
        except DatabaseUnavailableError:
            if pause_s is None:
                raise
            time.sleep(pause_s)
    raise AssertionError  # the last pause is None


def _cutoffs(connection: Connection, ages: Ages) -> dict[str, datetime | None]:
    now: datetime = connection.execute(text("SELECT now()")).scalar_one()
    return {each.name: None if (age := getattr(ages, each.name)) is None else now - age for each in fields(ages)}
