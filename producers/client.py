"""The client that other systems enqueue with: checks items by the workers' own rules and adds them to an inbox.

What an item may say is `producers.item`'s, reading files is `producers.sources`'.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from types import TracebackType
from typing import NamedTuple, Self, Unpack

import redis

from producers.item import Item, ItemOptions, fields_of
from schemas.errors import (
    EntryError,
    FenliuError,
    InboxFullError,
    InboxUnavailableError,
    SetupError,
)
from schemas.messages import check_fields
from schemas.names import Keys, Lane
from schemas.settings import Settings

CHUNK_ENTRIES = 500
CHUNK_CHARS = 1_000_000
LINGER_S = 0.2
KEPT_REFUSALS = 100


class Receipt(NamedTuple):
    """What became of one item: the entry it is in now, or why a worker would refuse it."""

    item: Item | Mapping[str, object]
    entry_id: str | None
    error: EntryError | None


class Refusal(NamedTuple):
    """An item that was not sent. `position` counts from 0."""

    position: int
    error: EntryError


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of many items. `refusals` are the first refused ones, at most 100."""

    enqueued: int
    refused: int
    refusals: tuple[Refusal, ...]


class Client:
    """Adds items to the inboxes of one Fenliu. Threads may share it.

    `server`: a Redis URL (redis://, rediss://, unix://) or a `redis.Redis` of your own, which stays yours to
    close. An inbox that holds `inbox_bound` entries takes no more: calls wait up to `wait_s` seconds (None:
    for ever) for room, and for a Redis that is away, then raise InboxFullError or InboxUnavailableError.
    Delivery is at least once: after a lost connection an entry may be added twice, which changes no result.
    """

    def __init__(self, server: redis.Redis | str, *, prefix: str = "fenliu", inbox_bound: int = 100_000) -> None:
        self._owned = isinstance(server, str)
        self._redis = _connect(server) if isinstance(server, str) else server
        self._keys = Keys(prefix)
        self._inbox_bound = inbox_bound
        self._known_length: dict[Lane, int] = {}

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """A client of the Redis, prefix and bound in `settings`, whose redis_url must be set."""
        return cls(settings.redis_url, prefix=settings.prefix, inbox_bound=settings.inbox_bound)

    def enqueue(
        self,
        id: str,
        text: str,
        *,
        lane: Lane = Lane.LIVE,
        wait_s: float | None = 0.0,
        **options: Unpack[ItemOptions],
    ) -> str:
        """Add one item; returns its entry id, `<ms>-<seq>`.

        Raises EntryError (what is wrong, by field) without sending anything, InboxFullError,
        InboxUnavailableError, and SetupError where Redis refuses this client.
        """
        fields = self._checked(Item(id, text, **options))
        patience = _Patience(wait_s)
        self._await_room(lane, patience)
        return self._add(lane, [fields], patience)[0]

    def enqueue_many(
        self, items: Iterable[Item | Mapping[str, object]], *, lane: Lane = Lane.LIVE, wait_s: float | None = 0.0
    ) -> Summary:
        """Add every item that keeps the rules, and report the others; memory stays bounded.

        Raises InboxFullError, InboxUnavailableError or SetupError with a note that says how many items had
        been taken in; `enqueue_each` tells exactly which.
        """
        enqueued = refused = 0
        refusals: list[Refusal] = []
        try:
            for receipt in self.enqueue_each(items, lane=lane, wait_s=wait_s):
                if receipt.error is None:
                    enqueued += 1
                    continue
                if len(refusals) < KEPT_REFUSALS:
                    refusals.append(Refusal(enqueued + refused, receipt.error))
                refused += 1
        except FenliuError as error:
            error.add_note(f"{enqueued} items are in the inbox, {refused} were refused; the rest was not sent")
            raise
        return Summary(enqueued, refused, tuple(refusals))

    def enqueue_each(
        self, items: Iterable[Item | Mapping[str, object]], *, lane: Lane = Lane.LIVE, wait_s: float | None = 0.0
    ) -> Iterator[Receipt]:
        """Add items as the result is iterated over: one receipt for each, in order; nothing is sent before.

        Items travel in chunks of at most 500. A chunk leaves when it is full, when an item arrives more
        than 0.2 s after the chunk's first, and at the end. `wait_s` counts anew for each chunk. Raises
        as `enqueue_many`; what was taken from `items` and has had no receipt by then is to be sent again. When
        the inbox is full that is one item.
        """
        source = iter(items)
        for first in source:  # a full inbox is no trouble to those who have nothing more to send
            patience = _Patience(wait_s)
            room = self._await_room(lane, patience)
            chunk = self._chunk(islice(chain([first], source), min(room, CHUNK_ENTRIES)))
            ready = [fields for _, fields, _ in chunk if fields is not None]
            entry_ids = iter(self._add(lane, ready, patience) if ready else ())
            for item, fields, error in chunk:
                yield Receipt(item, None if fields is None else next(entry_ids), error)

    def close(self) -> None:
        """Close the connections, if this client opened them."""
        if self._owned:
            self._redis.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _checked(self, item: Item | Mapping[str, object]) -> dict[str, str]:
        fields = fields_of(item)
        check_fields(fields, self._keys)
        return fields

    def _chunk(self, items: Iterable[Item | Mapping[str, object]]) -> list[_Prepared]:
        """The next chunk: bounded in entries by `items`, in characters and in age here."""
        chunk: list[_Prepared] = []
        chars = 0
        started: float | None = None
        for item in items:
            now = time.monotonic()
            started = now if started is None else started
            try:
                fields = self._checked(item)
            except EntryError as error:
                chunk.append(_Prepared(item, None, error))
            else:
                chars += sum(map(len, fields.values()))
                chunk.append(_Prepared(item, fields, None))
            if chars >= CHUNK_CHARS or now - started >= LINGER_S:
                break
        return chunk

    def _await_room(self, lane: Lane, patience: _Patience) -> int:
        """How many entries the inbox has room for, at least 1. Asks Redis only when it may be full."""
        room = self._inbox_bound - self._known_length.get(lane, self._inbox_bound)
        while room <= 0:
            try:
                length = self._length(lane)
                room = self._inbox_bound - length
                if room <= 0:
                    raise InboxFullError(
                        f"the {lane} inbox holds {length} entries and its bound is {self._inbox_bound}: "
                        "enqueue later, wait, add workers or raise FENLIU_INBOX_BOUND"
                    )
            except (InboxFullError, InboxUnavailableError) as error:
                patience.pause_or_raise(error)
        return room

    def _length(self, lane: Lane) -> int:
        try:
            length = int(self._redis.xlen(self._keys.inbox(lane)))
        except redis.RedisError as error:
            raise _translated(error) from error
        self._known_length[lane] = length
        return length

    def _add(self, lane: Lane, entries: Sequence[Mapping[str, str]], patience: _Patience) -> list[str]:
        """Entry ids of `entries`, all of them added; those that Redis did not take are tried again."""
        entry_ids: dict[int, str] = {}
        left = list(range(len(entries)))
        while left:
            try:
                results = self._try_add(lane, [entries[place] for place in left])
                failed: list[int] = []
                for place, result in zip(left, results, strict=True):
                    if isinstance(result, Exception):
                        failed.append(place)
                        problem = result
                    else:
                        entry_ids[place] = result.decode() if isinstance(result, bytes) else str(result)
                left = failed
                if failed:
                    raise _translated(problem)
            except InboxUnavailableError as error:
                patience.pause_or_raise(error)
        return [entry_ids[place] for place in range(len(entries))]

    def _try_add(self, lane: Lane, entries: Sequence[Mapping[str, str]]) -> list[object]:
        """One round trip: an entry id or an error for each entry. Learns the inbox's length by the way."""
        key = self._keys.inbox(lane)
        pipeline = self._redis.pipeline(transaction=False)
        for fields in entries:
            pipeline.xadd(key, fields)  # type: ignore[arg-type]  # redis-py's dict type is invariant
        pipeline.xlen(key)
        try:
            *results, length = pipeline.execute(raise_on_error=False)
        except redis.RedisError as error:
            self._known_length.pop(lane, None)
            raise _translated(error) from error
        if isinstance(length, int):
            self._known_length[lane] = length
        return results


class _Prepared(NamedTuple):
    item: Item | Mapping[str, object]
    fields: dict[str, str] | None
    error: EntryError | None


class _Patience:
    """How long one call still waits, with growing pauses."""

    def __init__(self, wait_s: float | None) -> None:
        self._until = None if wait_s is None else time.monotonic() + wait_s
        self._pause_s = 0.02

    def pause_or_raise(self, error: FenliuError) -> None:
        left_s = self._pause_s if self._until is None else self._until - time.monotonic()
        if left_s <= 0:
            raise error
        time.sleep(min(self._pause_s, left_s))
        self._pause_s = min(self._pause_s * 1.5, 0.5)


def _connect(url: str) -> redis.Redis:
    try:
        return redis.Redis.from_url(url)
    except ValueError as error:
        raise SetupError(f"the Redis URL is wrong: {error}") from None


_REFUSED = (redis.AuthenticationError, redis.exceptions.AuthorizationError, redis.exceptions.NoPermissionError)
_AWAY = (
    redis.ConnectionError, redis.TimeoutError, redis.exceptions.OutOfMemoryError, redis.ReadOnlyError,
    redis.exceptions.ClusterError, redis.exceptions.TryAgainError,
)  # fmt: skip
_AWAY_CODES = ("MISCONF", "NOREPLICAS")


def _translated(error: Exception) -> FenliuError:
    """What a Redis error means for somebody who enqueues."""
    if isinstance(error, _REFUSED):
        return SetupError(f"Redis refuses this client: {error}; check the user and password in the URL")
    if isinstance(error, _AWAY) or str(error).startswith(_AWAY_CODES):
        return InboxUnavailableError(f"Redis takes no entries now: {error}")
    return SetupError(f"Redis refuses the entry: {error}; is the inbox's key used by something else?")
