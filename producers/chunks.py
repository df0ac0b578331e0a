"""Items made ready to travel: checked by the workers' own rules, in bounded chunks, and sent until all are in."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from producers.item import Item, fields_of
from producers.redis_errors import translated
from schemas.errors import EntryError, FenliuError
from schemas.messages import check_fields
from schemas.names import Keys

CHUNK_ENTRIES = 500
CHUNK_CHARS = 1_000_000
LINGER_S = 0.2


class Prepared(NamedTuple):
    """An item and its fields, or why it is not sent."""

    item: Item | Mapping[str, object]
    fields: dict[str, str] | None
    error: EntryError | None


def checked(item: Item | Mapping[str, object], keys: Keys) -> dict[str, str]:
    """Fields that a worker takes. Raises EntryError."""
    fields = fields_of(item)
    check_fields(fields, keys)
    return fields


class Chunk:
    """Items that travel together: bounded in characters and age here, in entries by `room`."""

    def __init__(self, keys: Keys, room: int) -> None:
        self._keys = keys
        self._most = min(room, CHUNK_ENTRIES)
        self._chars = 0
        self._started_s = time.monotonic()
        self.prepared: list[Prepared] = []

    def take(self, item: Item | Mapping[str, object]) -> bool:
        """Take in one item; whether there is room for another. The age is looked at as items arrive."""
        now_s = time.monotonic()
        if not self.prepared:
            self._started_s = now_s
        try:
            fields = checked(item, self._keys)
        except EntryError as error:
            self.prepared.append(Prepared(item, None, error))
        else:
            self._chars += sum(map(len, fields.values()))
            self.prepared.append(Prepared(item, fields, None))
        return len(self.prepared) < self._most and self._chars < CHUNK_CHARS and now_s - self._started_s < LINGER_S

    def take_from(self, items: Iterable[Item | Mapping[str, object]]) -> None:
        """Take in items until the chunk is full or they end."""
        for item in items:
            if not self.take(item):
                return

    @property
    def left_s(self) -> float:
        """How long the chunk may still wait for more."""
        return self._started_s + LINGER_S - time.monotonic()

    @property
    def ready(self) -> list[dict[str, str]]:
        """Fields of those that are sent."""
        return [fields for _, fields, _ in self.prepared if fields is not None]


class Sending:
    """Entries on their way: which ones Redis has not taken yet."""

    def __init__(self, entries: Sequence[Mapping[str, str]]) -> None:
        self._entries = entries
        self._ids: dict[int, str] = {}
        self._left = list(range(len(entries)))

    @property
    def left(self) -> list[Mapping[str, str]]:
        """What is to be sent (again)."""
        return [self._entries[place] for place in self._left]

    @property
    def entry_ids(self) -> list[str]:
        """Entry ids in order, once nothing is left."""
        return [self._ids[place] for place in range(len(self._entries))]

    def settle(self, results: Sequence[object]) -> None:
        """Note an entry id or an error for each of `left`; raises the last error, as ours."""
        failed: list[int] = []
        problem: FenliuError | None = None
        for place, result in zip(self._left, results, strict=True):
            if isinstance(result, Exception):
                failed.append(place)
                problem = result if isinstance(result, FenliuError) else translated(result)
            else:
                self._ids[place] = as_text(result)
        self._left = failed
        if problem is not None:
            raise problem


def as_text(value: object) -> str:
    """An answer of Redis, whether or not the client decodes."""
    return value.decode() if isinstance(value, bytes) else str(value)
