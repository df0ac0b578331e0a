"""One item with all that is known of it, and erasing it. Assigning tickets and reviewing are not here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import redis
from sqlalchemy import Connection, Engine, Table, delete, func, or_, select

from schemas.database import translated
from schemas.names import DEFAULT_SOURCE, Keys
from schemas.tables import assignment_events, assignments, dead_letters, items, outbox, predictions, reviews
from worker.desk.entries import forget_announcements, take_out

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
    """How much was deleted: rows by table, entries that were still in an inbox, and those in teams' streams."""

    rows: dict[str, int]
    entries: int
    announcements: int

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


def erase(
    engine: Engine,
    server: redis.Redis,
    keys: Keys,
    source: str,
    item_id: str,
    *,
    wait_s: float = 30.0,
    dead_after_s: float = 15.0,
    on_wait: Callable[[int], None] = lambda _: None,
) -> Erased:
    """Delete an item with everything kept of it, in both inboxes, in Postgres (one transaction) and on teams' streams.

    Entries go first: one that waits would bring the item back. One that a worker holds just now is waited for, up
    to `wait_s` (`on_wait` is told), since its row is yet to come; one whose worker has had no heartbeat and left it
    alone for `dead_after_s` goes like those that wait. Not reached is what docs/retention.md names.
    Raises EntryHeldError if a worker holds one for longer, DatabaseUnavailableError and InboxUnavailableError;
    nothing in Postgres is deleted then.
    """
    entries = take_out(server, keys, source, item_id, wait_s=wait_s, dead_after_s=dead_after_s, on_wait=on_wait)
    rows: dict[str, int] = {}
    with translated(), engine.begin() as connection:
        # Writers of an item's rows hold this lock first.
        connection.execute(
            select(items.c.item_id).where(items.c.source == source, items.c.item_id == item_id).with_for_update()
        )
        # Announcements before their deliveries, in the order of their ids: as the relay locks them.
        connection.execute(
            select(outbox.c.id)
            .where(outbox.c.source == source, outbox.c.item_id == item_id)
            .order_by(outbox.c.id)
            .with_for_update()
        )
        told = _teams_told(connection, source, item_id)
        for table in _OF_ITEM:
            rows[table.name] = _delete(connection, table, source, item_id)
        rows[dead_letters.name] = _delete_dead_letters(connection, source, item_id)
        rows[items.name] = _delete(connection, items, source, item_id)
    return Erased(rows, entries, forget_announcements(server, keys, source, item_id, told))


def _teams_told(connection: Connection, source: str, item_id: str) -> dict[str, float]:
    """Each team that the ticket has been with, and since when, in seconds of the epoch.

    By its history and not by its announcements, which are pruned earlier.
    """
    query = (
        select(assignment_events.c.to_team, func.extract("epoch", func.min(assignment_events.c.at)))
        .where(assignment_events.c.source == source, assignment_events.c.item_id == item_id)
        .group_by(assignment_events.c.to_team)
    )
    return {team: float(first) for team, first in connection.execute(query)}


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
