"""One item with all that is known of it, and erasing it. Assigning tickets and reviewing are not here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import redis
from sqlalchemy import Connection, Engine, Table, delete, func, or_, select

from schemas.database import translated
from schemas.names import DEFAULT_SOURCE, GROUP, Keys, Lane
from schemas.tables import assignment_events, assignments, dead_letters, items, outbox, predictions, reviews
from worker import inbox

_PAGE_ENTRIES = 1000
_OF_ITEM = (predictions, assignments, assignment_events, reviews, outbox)


@dataclass(frozen=True, slots=True)
class ItemView:
    """An item's rows as mappings from column to value. `item` is None if only dead letters are left of it."""

    item: Mapping[str, Any] | None
    predictions: list[Mapping[str, Any]]
    assignment: Mapping[str, Any] | None
    history: list[Mapping[str, Any]]
    reviews: list[Mapping[str, Any]]
    dead_letters: list[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Erased:
    """How much was deleted: rows by table, and entries that were still in an inbox."""

    rows: dict[str, int]
    entries: int

    @property
    def nothing(self) -> bool:
        """Whether nothing was there."""
        return not self.entries and not any(self.rows.values())


def show(engine: Engine, source: str, item_id: str) -> ItemView | None:
    """What is known of an item; None if nothing is. Raises DatabaseUnavailableError."""
    with translated(), engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        found = _rows(connection, items, source, item_id)
        view = ItemView(
            item=found[0] if found else None,
            predictions=_rows(connection, predictions, source, item_id, predictions.c.created_at),
            assignment=next(iter(_rows(connection, assignments, source, item_id)), None),
            history=_rows(connection, assignment_events, source, item_id, assignment_events.c.id),
            reviews=_rows(connection, reviews, source, item_id, reviews.c.id),
            dead_letters=_rows(connection, dead_letters, source, item_id, dead_letters.c.id),
        )
    return view if view.item or view.dead_letters else None


def erase(engine: Engine, server: redis.Redis, keys: Keys, source: str, item_id: str) -> Erased:
    """Delete an item with everything kept of it, in Postgres (one transaction) and in both inboxes.

    Entries go first: one that waits would bring the item back. Not reached: an entry that a worker is
    classifying at this moment (its row appears within seconds: erase again), replies that nobody has read
    (they hold no text, and expire), Redis' append-only file until it is rewritten, logs of Postgres, backups,
    and what people copied elsewhere, such as the examples of a route. Raises DatabaseUnavailableError and
    InboxUnavailableError; nothing in Postgres is deleted then.
    """
    entries = sum(_erase_entries(server, keys.inbox(lane), source, item_id) for lane in Lane)
    rows: dict[str, int] = {}
    with translated(), engine.begin() as connection:
        # Writers of an item's rows hold this lock first.
        connection.execute(
            select(items.c.item_id).where(items.c.source == source, items.c.item_id == item_id).with_for_update()
        )
        for table in _OF_ITEM:
            rows[table.name] = _delete(connection, table, source, item_id)
        rows[dead_letters.name] = _delete_dead_letters(connection, source, item_id)
        rows[items.name] = _delete(connection, items, source, item_id)
    return Erased(rows, entries)


def _rows(connection: Connection, table: Table, source: str, item_id: str, *order: Any) -> list[Mapping[str, Any]]:
    query = select(table).where(table.c.source == source, table.c.item_id == item_id).order_by(*order)
    return [dict(row._mapping) for row in connection.execute(query)]


def _delete(connection: Connection, table: Table, source: str, item_id: str) -> int:
    return connection.execute(delete(table).where(table.c.source == source, table.c.item_id == item_id)).rowcount


def _delete_dead_letters(connection: Connection, source: str, item_id: str) -> int:
    """By identity, and by the raw fields where those were too broken to have one."""
    raw = dead_letters.c.raw
    named = (raw["id"].astext == item_id) & (func.coalesce(raw["source"].astext, DEFAULT_SOURCE) == source)
    known = (dead_letters.c.source == source) & (dead_letters.c.item_id == item_id)
    return connection.execute(delete(dead_letters).where(or_(known, named))).rowcount


def _erase_entries(server: Any, stream: str, source: str, item_id: str) -> int:
    erased, named = 0, (item_id.encode(), source.encode())
    with inbox.translated():
        for entry_id, fields in _entries(server, stream):
            if (fields.get(b"id"), fields.get(b"source", DEFAULT_SOURCE.encode())) == named:
                pipeline = server.pipeline(transaction=True)
                pipeline.xack(stream, GROUP, entry_id)
                pipeline.xdel(stream, entry_id)
                erased += pipeline.execute()[1]
    return erased


def _entries(server: Any, stream: str) -> Iterator[tuple[bytes, Mapping[bytes, bytes]]]:
    """Every entry of a stream up to the newest one of now, in pages. `server` answers in bytes."""
    newest = server.xrevrange(stream, count=1)
    start = b"-"
    while newest and (page := server.xrange(stream, min=start, max=newest[0][0], count=_PAGE_ENTRIES)):
        yield from page
        start = b"(" + page[-1][0]
