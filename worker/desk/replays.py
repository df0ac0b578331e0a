"""Dead letters sent back to their inbox: as they were, or mended; and what has become of them.

A letter is marked after it was sent, in one transaction that holds it locked: a crash in between sends it twice,
which changes no result, and never loses it. Which letters are meant is `worker.desk.dead_letters`'.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import redis
from sqlalchemy import Connection, Engine, bindparam, func, select, update

from schemas.database import translated
from schemas.errors import DeadLetterError, InboxFullError
from schemas.messages import Entry, RawEntry, decode, entry_order, entry_time
from schemas.names import ItemState, Keys, Lane
from schemas.raw import raw_from_json
from schemas.tables import dead_letters, items
from worker import inbox
from worker.desk.dead_letters import Chunk, DeadLetter, Filter, LetterState, lock_chunk, newest_id

_ROWS_AT_ONCE = 100


class Came(enum.StrEnum):
    """What has become of a letter that was sent back."""

    WAITING = "waiting"  # in the inbox, or in the hands of a worker
    DONE = "done"
    EXPIRED = "expired"
    DEAD = "dead"
    OLDER = "older"  # a newer text of the item stands
    NO_ROWS = "no_rows"  # taken, and it asked for none


@dataclass(frozen=True, slots=True)
class Outcome:
    """What has become of it. `letter_id`: the new dead letter that came of it."""

    came: Came
    letter_id: int | None = None


def replay(
    engine: Engine, server: redis.Redis, keys: Keys, which: Filter, *, by: str, inbox_bound: int
) -> Iterator[DeadLetter]:
    """Send dead letters back to their inbox, oldest first; each comes out as it is marked.

    The entry has the fields of the first one, byte for byte. Where that had no times of its own it also gets
    those of the first entry, so that it cannot beat what has come since. What is wrong with it still makes a new
    dead letter. Ends with the letters that were there at its start.

    Raises InboxFullError at the bound, InboxUnavailableError, DatabaseUnavailableError; what came out is done.
    """
    newest = newest_id(engine, which)
    after: int | None = 0 if newest is not None else None
    which = replace(which, newest=newest)
    while after is not None:
        chunk = replay_chunk(engine, server, keys, which, after=after, by=by, inbox_bound=inbox_bound)
        after = chunk.after
        yield from chunk.letters


def replay_chunk(
    engine: Engine, server: redis.Redis, keys: Keys, which: Filter, *, after: int, by: str, inbox_bound: int,
    rows: int = _ROWS_AT_ONCE,
) -> Chunk:  # fmt: skip
    """One transaction of `replay`: the letters that were sent, and where to go on. Raises as `replay` does."""
    with translated(), engine.begin() as connection:
        chunk = lock_chunk(connection, which, after, rows)
        if chunk.letters:
            _check_room(server, keys, {letter.lane for letter in chunk.letters}, inbox_bound)
            sent = _send(server, keys, [(letter, raw_from_json(letter.raw)) for letter in chunk.letters])
            _mark(connection, chunk.letters, sent, by)
    return chunk


def mend(
    engine: Engine, server: redis.Redis, keys: Keys, letter_id: int, fields: Mapping[bytes, bytes], *, by: str,
    inbox_bound: int, seen_as: str | None = None,
) -> str:  # fmt: skip
    """Send one letter back with these fields in place of its own, which it keeps; the id of the new entry.

    `seen_as` is the letter's `replayed_as` as the person saw it: if somebody has sent it back since, nothing is sent.
    The letter gets the identity of what was sent, so that whoever erases that item erases the letter with it.

    Raises EntryError if a worker would refuse the fields, DeadLetterError if the letter is gone, in hand or sent
    back, and InboxFullError, InboxUnavailableError, DatabaseUnavailableError.
    """
    entry = check(fields, keys)
    with translated(), engine.begin() as connection:
        letter = _lock_one(connection, letter_id, seen_as)
        _check_room(server, keys, {letter.lane}, inbox_bound)
        [sent] = _send(server, keys, [(letter, fields)])
        _mark(connection, [letter], [sent], by)
        connection.execute(
            update(dead_letters).where(dead_letters.c.id == letter_id).values(source=entry.source, item_id=entry.id)
        )
    return sent


def replay_one(
    engine: Engine, server: redis.Redis, keys: Keys, letter_id: int, *, by: str, inbox_bound: int,
    seen_as: str | None = None,
) -> str:  # fmt: skip
    """Send one letter back as it was; the id of the new entry. `seen_as` and errors as for `mend`, but EntryError."""
    with translated(), engine.begin() as connection:
        letter = _lock_one(connection, letter_id, seen_as)
        _check_room(server, keys, {letter.lane}, inbox_bound)
        [sent] = _send(server, keys, [(letter, raw_from_json(letter.raw))])
        _mark(connection, [letter], [sent], by)
    return sent


def check(fields: Mapping[bytes, bytes], keys: Keys) -> Entry:
    """What a worker would read in these fields; models and route sets it alone knows. Raises EntryError."""
    return decode(RawEntry(Lane.LIVE, "0-1", fields), keys)


def outcome(engine: Engine, server: redis.Redis, keys: Keys, letter: DeadLetter) -> Outcome:
    """What has become of a letter that was sent back. Raises InboxUnavailableError, DatabaseUnavailableError."""
    sent = str(letter.replayed_as)
    # Before the rows: they are committed before the entry goes.
    with inbox.translated():
        is_there = bool(server.xrange(keys.inbox(letter.lane), sent, sent))
    with translated(), engine.connect() as connection:
        again = connection.scalar(
            select(dead_letters.c.id).where(dead_letters.c.lane == letter.lane, dead_letters.c.entry_id == sent)
        )
        if again is not None:
            return Outcome(Came.DEAD, again)
        if is_there:
            return Outcome(Came.WAITING)
        item = connection.execute(
            select(items.c.state, items.c.entry_ms, items.c.entry_seq).where(
                items.c.source == letter.source, items.c.item_id == letter.item_id
            )
        ).one_or_none()
    if item is None:
        return Outcome(Came.NO_ROWS)
    if (item.entry_ms, item.entry_seq) != entry_order(sent):
        return Outcome(Came.OLDER)
    return Outcome(Came.EXPIRED if item.state == ItemState.EXPIRED else Came.DONE)


def _lock_one(connection: Connection, letter_id: int, seen_as: str | None) -> DeadLetter:
    [*letters] = lock_chunk(connection, Filter(ids=[letter_id], state=LetterState.ALL), 0, 1).letters
    if not letters:
        raise DeadLetterError(f"dead letter {letter_id} is gone, or somebody is sending it back just now")
    if letters[0].replayed_as != seen_as:
        raise DeadLetterError(f"{letters[0].replayed_by} has sent dead letter {letter_id} back meanwhile")
    return letters[0]


def _check_room(server: redis.Redis, keys: Keys, lanes: set[Lane], inbox_bound: int) -> None:
    with inbox.translated():
        for lane in lanes:
            waiting = int(server.xlen(keys.inbox(lane)))
            if waiting >= inbox_bound:
                raise InboxFullError(f"the {lane} inbox holds {waiting} entries and its bound is {inbox_bound}: later")


def _send(server: redis.Redis, keys: Keys, letters: Sequence[tuple[DeadLetter, Mapping[bytes, bytes]]]) -> list[str]:
    pipeline: Any = server.pipeline(transaction=False)
    for letter, fields in letters:
        first = entry_time(letter.entry_id).isoformat().encode()
        pipeline.xadd(keys.inbox(letter.lane), {b"created_at": first, b"updated_at": first, **fields})
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
