"""Dead letters: which are meant, finding and counting them, dropping them.

Sending them back is `worker.desk.replays`'. What makes an entry one is `worker.pipeline`'s.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, Select, delete, func, select

from schemas.database import translated
from schemas.names import Lane
from schemas.tables import dead_letters

MOST_SEARCHED = 100_000
"""How many letters are read at once to look for a text, which no index knows."""

_ROWS_AT_ONCE = 500
_LETTER = dead_letters.c


class LetterState(enum.StrEnum):
    """Which letters are meant: those that wait, those that were sent back, or both."""

    WAITING = "waiting"
    REPLAYED = "replayed"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One entry that could not be classified. `raw`: its fields as `schemas.raw.raw_to_json` made them."""

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
    """Which dead letters are meant: those that match everything given here.

    `since` is included, `until` is not. `text` stands in any of the raw fields, in whatever case. `newest`: no letter
    with a greater id, so that what comes meanwhile is left alone.
    """

    ids: Sequence[int] = ()
    code: str | None = None
    source: str | None = None
    since: datetime | None = None
    state: LetterState = LetterState.WAITING
    field: str | None = None
    lane: Lane | None = None
    item_id: str | None = None
    until: datetime | None = None
    text: str | None = None
    newest: int | None = None

    @property
    def is_all(self) -> bool:
        """Whether nothing narrows it but the state."""
        return replace(self, state=LetterState.WAITING, newest=None) == Filter()

    def conditions(self, *, with_text: bool = True) -> list[ColumnElement[bool]]:
        """For WHERE. Without the text, an index may answer them."""
        conditions: list[ColumnElement[bool]] = [
            column == value
            for column, value in (
                (_LETTER.code, self.code),
                (_LETTER.source, self.source),
                (_LETTER.field, self.field),
                (_LETTER.lane, self.lane),
                (_LETTER.item_id, self.item_id),
            )
            if value is not None
        ]
        if self.ids:
            conditions.append(_LETTER.id.in_(self.ids))
        if self.since is not None:
            conditions.append(_LETTER.created_at >= self.since)
        if self.until is not None:
            conditions.append(_LETTER.created_at < self.until)
        if self.newest is not None:
            conditions.append(_LETTER.id <= self.newest)
        if self.state is LetterState.WAITING:
            conditions.append(_LETTER.replayed_at.is_(None))
        elif self.state is LetterState.REPLAYED:
            conditions.append(_LETTER.replayed_at.is_not(None))
        if self.text and with_text:
            conditions.append(_holds(_LETTER.raw, self.text))
        return conditions


@dataclass(frozen=True, slots=True)
class LetterPage:
    """Some letters, newest first. `older` and `newer`: the id to go on from, None where nothing is left.

    `is_cut`: no more than MOST_SEARCHED letters were searched for the text, and `older` goes on behind them.
    """

    letters: list[DeadLetter]
    older: int | None
    newer: int | None
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class Counts:
    """How many letters match, by code, most first. `is_cut`: only the newest MOST_SEARCHED were searched."""

    by_code: dict[str, int]
    is_cut: bool = False

    @property
    def total(self) -> int:
        """Of all codes."""
        return sum(self.by_code.values())


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next letters of many. `after`: where to go on; None: these were the last."""

    letters: list[DeadLetter]
    after: int | None


def find(engine: Engine, which: Filter, *, limit: int = 100) -> list[DeadLetter]:
    """Dead letters, newest first. Raises DatabaseUnavailableError."""
    return page(engine, which, rows=limit).letters


def one(engine: Engine, letter_id: int) -> DeadLetter | None:
    """The letter of this id, None if there is none. Raises DatabaseUnavailableError."""
    with translated(), engine.connect() as connection:
        row = connection.execute(select(dead_letters).where(_LETTER.id == letter_id)).one_or_none()
    return None if row is None else _dead_letter(row)


def page(
    engine: Engine, which: Filter, *, before: int | None = None, after: int | None = None, rows: int = 50
) -> LetterPage:
    """The newest letters older than `before`; or the oldest newer than `after`, shown newest first all the same.

    Raises DatabaseUnavailableError.
    """
    upwards = after is not None
    found = letters_query(which, upwards=upwards)
    if after is not None:
        found = found.where(_LETTER.id > after)
    elif before is not None:
        found = found.where(_LETTER.id < before)
    query, end = found.limit(rows + 1), None
    with translated(), engine.connect() as connection:
        if which.text:
            end = connection.scalar(found.with_only_columns(_LETTER.id).offset(MOST_SEARCHED - 1).limit(1))
            query = query.where(_holds(_LETTER.raw, which.text))
            if end is not None:
                query = query.where(_LETTER.id <= end if upwards else _LETTER.id >= end)
        letters = [_dead_letter(row) for row in connection.execute(query)]
    is_more, letters = len(letters) > rows, letters[:rows]
    if upwards:
        letters.reverse()
    first, last = (letters[0].id, letters[-1].id) if letters else (None, None)
    is_cut = not is_more and end is not None
    if upwards and not is_more and not is_cut:
        return page(engine, which, rows=rows)  # a full page, since this is the first
    if upwards:
        return LetterPage(letters, last or after, end if is_cut else first if is_more else None, is_cut)
    newer = first if before is not None and first is not None else before and before - 1
    return LetterPage(letters, end if is_cut else last if is_more else None, newer, is_cut)


def letters_query(which: Filter, *, upwards: bool = False) -> Select[Any]:
    """The letters that match all but the text, newest first, or oldest first."""
    order = _LETTER.id.asc() if upwards else _LETTER.id.desc()
    return select(dead_letters).where(*which.conditions(with_text=False)).order_by(order)


def counts(engine: Engine, which: Filter) -> Counts:
    """How many there are of each code. Raises DatabaseUnavailableError."""
    with translated(), engine.connect() as connection:
        conditions, is_cut = which.conditions(), False
        if which.text:
            searched = select(_LETTER.id).where(*which.conditions(with_text=False)).order_by(_LETTER.id.desc())
            end = connection.scalar(searched.offset(MOST_SEARCHED).limit(1))
            is_cut = end is not None
            if end is not None:
                conditions.append(_LETTER.id > end)
        how_many = func.count().label("how_many")
        query = (
            select(_LETTER.code, how_many)
            .where(*conditions)
            .group_by(_LETTER.code)
            .order_by(how_many.desc(), _LETTER.code)
        )
        return Counts({row.code: row.how_many for row in connection.execute(query)}, is_cut)


def count(engine: Engine, which: Filter) -> dict[str, int]:
    """How many there are of each code, most first. Raises DatabaseUnavailableError."""
    return counts(engine, which).by_code


def newest_id(engine: Engine, which: Filter) -> int | None:
    """The greatest id among those that match all but the text; None if none does. Raises DatabaseUnavailableError."""
    query = select(_LETTER.id).where(*which.conditions(with_text=False)).order_by(_LETTER.id.desc()).limit(1)
    with translated(), engine.connect() as connection:
        return connection.scalar(query)


def lock_chunk(connection: Connection, which: Filter, after: int, rows: int) -> Chunk:
    """The oldest letters that come after this id, locked; those that somebody else has locked are left to him.

    A chunk may be empty and not the last: a text is looked for in a bounded number of letters at a time.
    """
    behind = _LETTER.id > after
    query: Select[Any] = select(dead_letters).where(*which.conditions(), behind).order_by(_LETTER.id).limit(rows)
    end: int | None = None
    if which.text:
        searched = select(_LETTER.id).where(*which.conditions(with_text=False), behind).order_by(_LETTER.id)
        end = connection.scalar(searched.offset(MOST_SEARCHED - 1).limit(1))
        if end is not None:
            query = query.where(_LETTER.id <= end)
    letters = [_dead_letter(row) for row in connection.execute(query.with_for_update(skip_locked=True))]
    return Chunk(letters, letters[-1].id if len(letters) == rows else end)


def drop_chunk(engine: Engine, which: Filter, after: int = 0, rows: int = _ROWS_AT_ONCE) -> Chunk:
    """Delete the oldest letters after this id for good; which, and where to go on. Raises DatabaseUnavailableError."""
    with translated(), engine.begin() as connection:
        chunk = lock_chunk(connection, which, after, rows)
        connection.execute(delete(dead_letters).where(_LETTER.id.in_([letter.id for letter in chunk.letters])))
    return chunk


def drop(engine: Engine, which: Filter) -> int:
    """Delete dead letters for good, as far as they are there now; how many. Raises DatabaseUnavailableError."""
    newest = newest_id(engine, which)
    if newest is None:
        return 0
    which, dropped, after = replace(which, newest=newest), 0, 0
    while True:
        chunk = drop_chunk(engine, which, after)
        dropped += len(chunk.letters)
        if chunk.after is None:
            return dropped
        after = chunk.after


def _holds(raw: ColumnElement[Any], text: str) -> ColumnElement[bool]:
    field = func.jsonb_each_text(raw).table_valued("key", "value", name="field")
    return select(field.c.key).where(func.strpos(func.lower(field.c.value), func.lower(text)) > 0).exists()


def _dead_letter(row: Row[Any]) -> DeadLetter:
    return DeadLetter(**{**row._mapping, "lane": Lane(row.lane)})
