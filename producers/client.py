"""The client that other systems enqueue with: checks items by the workers' own rules and adds them to an inbox.

`Client` here, `AsyncClient` for asyncio. What an item may say is `producers.item`'s, reading files is
`producers.sources`'.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from types import TracebackType
from typing import TYPE_CHECKING, Self, Unpack

import redis

from producers.asking import Asked, Replies
from producers.async_client import AsyncClient
from producers.chunks import CHUNK_ENTRIES, Chunk, Sending, checked
from producers.item import AskOptions, Item, ItemOptions
from producers.mailbox import Mailbox
from producers.patience import Patience, Room
from producers.questions import question
from producers.receipts import KEPT_REFUSALS, Receipt, Refusal, Summary, Tally
from producers.redis_errors import translated, wrong_url
from schemas.errors import EntryError, FenliuError, InboxFullError, InboxUnavailableError
from schemas.messages import Reply
from schemas.names import Keys, Lane

if TYPE_CHECKING:
    from schemas.settings import Settings

__all__ = [
    "CHUNK_ENTRIES", "KEPT_REFUSALS", "AsyncClient", "Client", "Item", "Receipt", "Refusal", "Reply", "Summary",
]  # fmt: skip


class Client:
    """Adds items to the inboxes of one Fenliu, and waits for results. Threads may share it.

    `server`: a Redis URL (redis://, rediss://, unix://) or a `redis.Redis` of your own, which stays yours to
    close. An inbox that holds `inbox_bound` entries takes no more: calls wait up to `wait_s` seconds (None:
    for ever) for room, and for a Redis that is away, then raise InboxFullError or InboxUnavailableError.
    Delivery is at least once: after a lost connection an entry may be added twice, which changes no result.
    """

    def __init__(self, server: redis.Redis | str, *, prefix: str = "fenliu", inbox_bound: int = 100_000) -> None:
        self._owned = isinstance(server, str)
        self._redis: redis.Redis = _connect(server) if isinstance(server, str) else server
        self._keys = Keys(prefix)
        self._room = Room(inbox_bound)
        self._replies = Replies(self._redis, self._keys)

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
        fields = checked(Item(id, text, **options), self._keys)
        patience = Patience(wait_s)
        self._await_room(lane, patience)
        return self._add(lane, [fields], patience)[0]

    def enqueue_many(
        self, items: Iterable[Item | Mapping[str, object]], *, lane: Lane = Lane.LIVE, wait_s: float | None = 0.0
    ) -> Summary:
        """Add every item that keeps the rules, and report the others; memory stays bounded.

        Raises InboxFullError, InboxUnavailableError or SetupError with a note that says how many items had
        been taken in; `enqueue_each` tells exactly which.
        """
        tally = Tally()
        try:
            for receipt in self.enqueue_each(items, lane=lane, wait_s=wait_s):
                tally.count(receipt)
        except FenliuError as error:
            tally.note(error)
            raise
        return tally.summary

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
            patience = Patience(wait_s)
            chunk = Chunk(self._keys, self._await_room(lane, patience))
            chunk.take_from(chain([first], source))
            entry_ids = iter(self._add(lane, chunk.ready, patience))
            for item, fields, error in chunk.prepared:
                yield Receipt(item, None if fields is None else next(entry_ids), error)

    def classify(
        self,
        text: str,
        *,
        id: str | None = None,
        timeout_s: float = 30.0,
        lane: Lane = Lane.LIVE,
        wait_s: float | None = 0.0,
        **options: Unpack[AskOptions],
    ) -> Reply:
        """Enqueue a text and wait for its result, at most `timeout_s` in all. Rows are only written with store=True.

        Raises EntryError (also where a worker says so), ExpiredError, ReplyTimeoutError, and as `enqueue`.
        """
        item = text if id is None else {"id": id, "text": text}
        [answer] = self.classify_many([item], timeout_s=timeout_s, lane=lane, wait_s=wait_s, **options)
        if isinstance(answer, FenliuError):
            raise answer
        return answer

    def classify_many(
        self,
        items: Iterable[str | Item | Mapping[str, object]],
        *,
        timeout_s: float = 30.0,
        lane: Lane = Lane.LIVE,
        wait_s: float | None = 0.0,
        **options: Unpack[AskOptions],
    ) -> list[Reply | FenliuError]:
        """A reply or an error for each text or item, in order; see `classify` for the errors.

        `options` hold for every item that does not say otherwise. All travel together, in chunks of at most
        500; `timeout_s` and `wait_s` count from when an item's chunk is sent. An `Item` is stored only if
        store=True stands here.
        """
        mailbox = self._replies.mailbox()
        asked: list[Asked] = []
        patience_s = timeout_s if wait_s is None else min(wait_s, timeout_s)
        source = iter(items)
        try:
            while chunk := list(islice(source, CHUNK_ENTRIES)):
                new = [self._asked(item, options, mailbox, timeout_s) for item in chunk]
                asked += new
                self._ask(lane, [each for each in new if each.error is None], mailbox, Patience(patience_s))
            return [each.answer(timeout_s) for each in asked]
        finally:
            self._abandon(lane, mailbox, asked)

    def close(self) -> None:
        """Stop waiting for replies, and close the connections if this client opened them."""
        self._replies.close()
        if self._owned:
            self._redis.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _asked(
        self, item: str | Item | Mapping[str, object], options: AskOptions, mailbox: Mailbox, timeout_s: float
    ) -> Asked:
        until_s = time.monotonic() + timeout_s
        try:
            found = question(item, options, stream=mailbox.stream, timeout_s=timeout_s, keys=self._keys)
        except EntryError as error:
            return Asked(None, until_s, error)
        return Asked(found, until_s)

    def _ask(self, lane: Lane, asked: Sequence[Asked], mailbox: Mailbox, patience: Patience) -> None:
        """Send questions, as many as there is room for; what is not sent gets the error."""
        left = deque(each for each in asked if each.question is not None)
        try:
            while left:
                room = self._await_room(lane, patience)
                batch = [left.popleft() for _ in range(min(room, len(left)))]
                with mailbox.sending():
                    entry_ids = self._add(lane, [each.question.fields for each in batch if each.question], patience)
                    for each, entry_id in zip(batch, entry_ids, strict=True):
                        each.entry_id = entry_id
                        mailbox.expect(entry_id, each.future)
        except FenliuError as error:
            for each in asked:
                if each.entry_id is None:
                    each.error = error

    def _abandon(self, lane: Lane, mailbox: Mailbox, asked: Iterable[Asked]) -> None:
        """Wait for none of these any more; those that nobody needs then leave the inbox, as well as can be."""
        unneeded: list[str] = []
        for each in asked:
            if each.entry_id is not None and not each.is_answered:
                mailbox.forget(each.entry_id)
                if each.question is not None and each.question.disposable:
                    unneeded.append(each.entry_id)
        for _ in range(2 if unneeded else 0):  # a client that is being closed loses its connection once
            with contextlib.suppress(redis.RedisError):
                self._redis.xdel(self._keys.inbox(lane), *unneeded)
                break

    def _await_room(self, lane: Lane, patience: Patience) -> int:
        """How many entries the inbox has room for, at least 1. Asks Redis only when it may be full."""
        while (room := self._room.left(lane)) <= 0:
            try:
                self._ask_length(lane)
                if (room := self._room.left(lane)) > 0:
                    break
                raise self._room.full(lane)
            except (InboxFullError, InboxUnavailableError) as error:
                time.sleep(patience.pause_s(error))
        return room

    def _ask_length(self, lane: Lane) -> None:
        try:
            self._room.learn(lane, int(self._redis.xlen(self._keys.inbox(lane))))
        except redis.RedisError as error:
            raise translated(error) from error

    def _add(self, lane: Lane, entries: Sequence[Mapping[str, str]], patience: Patience) -> list[str]:
        """Entry ids of `entries`, all of them added; those that Redis did not take are tried again."""
        sending = Sending(entries)
        while left := sending.left:
            try:
                sending.settle(self._try_add(lane, left))
            except InboxUnavailableError as error:
                time.sleep(patience.pause_s(error))
        return sending.entry_ids

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
            self._room.learn(lane, None)
            raise translated(error) from error
        self._room.learn(lane, length)
        return results


def _connect(url: str) -> redis.Redis:
    try:
        return redis.Redis.from_url(url)
    except ValueError as error:
        raise wrong_url(error) from None
