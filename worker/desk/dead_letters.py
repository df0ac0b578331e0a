"""Dead letters: finding them, sending them back to their inbox, dropping them.

What makes an entry one is `worker.pipeline`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import redis
from sqlalchemy import ColumnElement, Connection, Engine, Row, Select, bindparam, delete, func, select, update

from schemas.database import translated
from schemas.errors import InboxFullError
from schemas.messages import entry_time
from schemas.names import Keys, Lane
from schemas.raw import raw_from_json
from schemas.tables import dead_letters
from worker import inbox

_CHUNK_ROWS = 100


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One entry that could not be classified. `raw`: its fields as `schemas.messages.raw_to_json` made them."""

    id: int
    lane: Lane
    entry_id: str
    source: str | None
    item_id: str | None
    code: str
    field: str
    message: str
    raw: dict[str, Any]
    deliveries: int
    created_at: datetime
    replayed_at: datetime | None
    replayed_as: str | None
    replayed_by: str | None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which dead letters are meant: those that match everything given here. Replayed ones only if asked for."""

    ids: Sequence[int] = ()
    code: str | None = None
    source: str | None = None
    since: datetime | None = None
    replayed: bool = False

    def _conditions(self) -> list[ColumnElement[bool]]:
        table = dead_letters.c
        conditions: list[ColumnElement[bool]] = []
        if self.ids:
            conditions.append(table.id.in_(self.ids))
        if self.code is not None:
            conditions.append(table.code == self.code)
        if self.source is not None:
            conditions.append(table.source == self.source)
        if self.since is not None:
            conditions.append(table.created_at >= self.since)
        if not self.replayed:
            conditions.append(table.replayed_at.is_(None))
        return conditions


def find(engine: Engine, which: Filter, *, limit: int = 100) -> list[DeadLetter]:
    """Dead letters, newest first. Raises DatabaseUnavailableError."""
    query = _matching(which).order_by(dead_letters.c.id.desc()).limit(limit)
    with translated(), engine.connect() as connection:
        return [_dead_letter(row) for row in connection.execute(query)]


def count(engine: Engine, which: Filter) -> dict[str, int]:
    """How many there are of each code, most first. Raises DatabaseUnavailableError."""
    how_many = func.count().label("how_many")
    query = (
        select(dead_letters.c.code, how_many)
        .where(*which._conditions())
        .group_by(dead_letters.c.code)
        .order_by(how_many.desc(), dead_letters.c.code)
    )
    with translated(), engine.connect() as connection:
        return {row.code: row.how_many for row in connection.execute(query)}


def replay(
    engine: Engine, server: redis.Redis, keys: Keys, which: Filter, *, by: str, inbox_bound: int
) -> Iterator[DeadLetter]:
    """Send dead letters back to their inbox, oldest first; each comes out as it is marked.

    The entry has the fields of the first one, byte for byte. Where that had no times of its own it also gets
    those of the first entry, so that it cannot beat what has come since. What is wrong with it still makes a new
    dead letter. A chunk is marked after it was sent: a crash in between sends it twice, which changes no result,
    and never loses it. Ends with the letters that were there at its start.

    Raises InboxFullError at the bound, InboxUnavailableError, DatabaseUnavailableError; what came out is done.
    """
    with translated(), engine.connect() as connection:
        newest = connection.scalar(select(func.max(dead_letters.c.id)).where(*which._conditions()))
    last = 0
    while newest is not None and last < newest:
        with translated(), engine.begin() as connection:
            letters = _lock_chunk(connection, which, last, newest)
            if not letters:
                return
            _check_room(server, keys, letters, inbox_bound)
            _mark(connection, letters, _send(server, keys, letters), by)
        last = letters[-1].id
        yield from letters


def drop(engine: Engine, which: Filter) -> int:
    """Delete dead letters for good; how many. Raises DatabaseUnavailableError."""
    with translated(), engine.begin() as connection:
        return connection.execute(delete(dead_letters).where(*which._conditions())).rowcount


def _matching(which: Filter) -> Select[Any]:
    return select(dead_letters).where(*which._conditions())


def _lock_chunk(connection: Connection, which: Filter, after: int, newest: int) -> list[DeadLetter]:
    query = (
        _matching(which)
        .where(dead_letters.c.id > after, dead_letters.c.id <= newest)
        .order_by(dead_letters.c.id)
        .limit(_CHUNK_ROWS)
        .with_for_update(skip_locked=True)
    )
    return [_dead_letter(row) for row in connection.execute(query)]


def _check_room(server: redis.Redis, keys: Keys, letters: Sequence[DeadLetter], inbox_bound: int) -> None:
    with inbox.translated():
        for lane in {letter.lane for letter in letters}:
            waiting = int(server.xlen(keys.inbox(lane)))
            if waiting >= inbox_bound:
                raise InboxFullError(f"the {lane} inbox holds {waiting} entries and its bound is {inbox_bound}: later")


def _send(server: redis.Redis, keys: Keys, letters: Sequence[DeadLetter]) -> list[str]:
    pipeline: Any = server.pipeline(transaction=False)
    for letter in letters:
        pipeline.xadd(keys.inbox(letter.lane), _fields(letter))
    with inbox.translated():
        entry_ids = pipeline.execute()
    return [entry_id.decode() if isinstance(entry_id, bytes) else str(entry_id) for entry_id in entry_ids]


def _mark(connection: Connection, letters: Sequence[DeadLetter], entry_ids: Sequence[str], by: str) -> None:
    connection.execute(
        update(dead_letters)
        .where(dead_letters.c.id == bindparam("letter"))
        .values(replayed_at=func.now(), replayed_as=bindparam("entry"), replayed_by=by),
        [{"letter": letter.id, "entry": entry_id} for letter, entry_id in zip(letters, entry_ids, strict=True)],
    )


def _fields(letter: DeadLetter) -> dict[bytes, bytes]:
    first = entry_time(letter.entry_id).isoformat().encode()
    return {b"created_at": first, b"updated_at": first} | raw_from_json(letter.raw)


def _dead_letter(row: Row[Any]) -> DeadLetter:
    return DeadLetter(**{**row._mapping, "lane": Lane(row.lane)})
