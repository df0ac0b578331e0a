"""The client for asyncio. What concurrent calls send at the same moment travels in one pipeline.

Only what waits; the parts that do not are shared with `producers.client`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

import redis
import redis.asyncio

from producers.chunks import CHUNK_ENTRIES, Chunk, Sending, checked
from producers.flusher import Flusher, Ticket
from producers.item import AskOptions, Item, ItemOptions
from producers.mailbox import Mailbox
from producers.patience import Patience, Room
from producers.pulled import chunks_of
from producers.questions import question
from producers.readers import read_replies
from producers.receipts import Receipt, Summary, Tally, no_reply, opened
from producers.redis_errors import wrong_url
from schemas.errors import FenliuError, InboxFullError, InboxUnavailableError, SetupError
from schemas.messages import Reply
from schemas.names import Keys, Lane

if TYPE_CHECKING:
    from schemas.settings import Settings


class AsyncClient:
    """Adds items to the inboxes of one Fenliu, and waits for results, in one event loop.

    `server`: a Redis URL (redis://, rediss://, unix://) or a `redis.asyncio.Redis` of your own, which stays
    yours to close and must have two connections to give. An inbox that holds `inbox_bound` entries takes no
    more: calls wait up to `wait_s` seconds (None: for ever) for room, and for a Redis that is away, then raise
    InboxFullError or InboxUnavailableError. Delivery is at least once: after a lost connection an entry may be
    added twice, which changes no result. Ends with `aclose`, or `async with`.
    """

    def __init__(
        self, server: redis.asyncio.Redis | str, *, prefix: str = "fenliu", inbox_bound: int = 100_000
    ) -> None:
        self._owned = isinstance(server, str)
        self._redis: redis.asyncio.Redis = _connect(server) if isinstance(server, str) else server
        self._keys = Keys(prefix)
        self._room = Room(inbox_bound)
        self._mailbox = Mailbox(self._keys)
        self._flusher = Flusher(self._redis, self._keys, self._room, self._mailbox)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reader: asyncio.Task[None] | None = None
        self._closed = False

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """A client of the Redis, prefix and bound in `settings`, whose redis_url must be set."""
        return cls(settings.redis_url, prefix=settings.prefix, inbox_bound=settings.inbox_bound)

    async def enqueue(
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
        while True:
            await self._await_room(lane, patience)
            ticket = Ticket(lane, fields, asyncio.get_running_loop().create_future())
            self._flusher.add(ticket)
            try:
                return str(await ticket.future)
            except InboxUnavailableError as error:
                await asyncio.sleep(patience.pause_s(error))

    async def enqueue_many(
        self,
        items: Iterable[Item | Mapping[str, object]] | AsyncIterable[Item | Mapping[str, object]],
        *,
        lane: Lane = Lane.LIVE,
        wait_s: float | None = 0.0,
    ) -> Summary:
        """Add every item that keeps the rules, and report the others; memory stays bounded.

        Raises InboxFullError, InboxUnavailableError or SetupError with a note that says how many items had
        been taken in; `enqueue_each` tells exactly which.
        """
        tally = Tally()
        try:
            async for receipt in self.enqueue_each(items, lane=lane, wait_s=wait_s):
                tally.count(receipt)
        except FenliuError as error:
            tally.note(error)
            raise
        return tally.summary

    async def enqueue_each(
        self,
        items: Iterable[Item | Mapping[str, object]] | AsyncIterable[Item | Mapping[str, object]],
        *,
        lane: Lane = Lane.LIVE,
        wait_s: float | None = 0.0,
    ) -> AsyncIterator[Receipt]:
        """Add items as the result is iterated over: one receipt for each, in order; nothing is sent before.

        Items travel in chunks of at most 500. A chunk leaves when it is full, 0.2 s after its first item at
        the latest (of a plain iterable, which cannot be waited for beside: when the next item arrives), and at
        the end. `wait_s` counts anew for each chunk. Raises as `enqueue_many`; what was taken from `items` and
        has had no receipt by then is to be sent again.
        """
        patience = Patience(wait_s)

        async def room() -> int:
            nonlocal patience
            patience = Patience(wait_s)
            return await self._await_room(lane, patience)

        async with contextlib.aclosing(chunks_of(items, self._keys, room)) as chunks:
            async for chunk in chunks:
                entry_ids = iter(await self._add(lane, chunk, patience))
                for item, fields, error in chunk.prepared:
                    yield Receipt(item, None if fields is None else next(entry_ids), error)

    async def classify(
        self,
        text: str,
        *,
        id: str | None = None,
        timeout_s: float = 30.0,
        lane: Lane = Lane.LIVE,
        wait_s: float | None = 0.0,
        **options: Unpack[AskOptions],
    ) -> Reply:
        """Enqueue a text and wait for its result, `timeout_s` in all. Rows are only written with store=True.

        A text that nobody waits for any more (time is up, or this call was cancelled) and that is not to be
        stored is taken out of the inbox. Raises EntryError (also where a worker says so), ExpiredError,
        ReplyTimeoutError, and as `enqueue`.
        """
        return await self._classify(text if id is None else {"id": id, "text": text}, options, timeout_s, lane, wait_s)

    async def classify_many(
        self,
        items: Iterable[str | Item | Mapping[str, object]],
        *,
        timeout_s: float = 30.0,
        lane: Lane = Lane.LIVE,
        wait_s: float | None = 0.0,
        **options: Unpack[AskOptions],
    ) -> list[Reply | FenliuError]:
        """A reply or an error for each text or item, in order; see `classify` for the errors.

        `options` hold for every item that does not say otherwise; an `Item` is stored only if store=True
        stands here. At most 500 are waited for at once, and `timeout_s` counts from when an item is sent.
        """
        places = asyncio.Semaphore(CHUNK_ENTRIES)

        async def one(item: str | Item | Mapping[str, object]) -> Reply | FenliuError:
            try:
                return await self._classify(item, options, timeout_s, lane, wait_s)
            except FenliuError as error:
                return error
            finally:
                places.release()

        tasks: list[asyncio.Task[Reply | FenliuError]] = []
        async with asyncio.TaskGroup() as group:
            for item in items:
                await places.acquire()
                tasks.append(group.create_task(one(item)))
        return [task.result() for task in tasks]

    async def aclose(self) -> None:
        """Send what is on its way, stop waiting for replies, and close the connections this client opened."""
        self._closed = True
        await self._flusher.drained()
        self._mailbox.close(InboxUnavailableError("the client was closed"))
        await asyncio.sleep(0)  # who waited, or has just been cancelled, takes their text back
        await self._flusher.drained()
        if self._reader is not None:
            while not self._reader.done():
                self._reader.cancel()
                await asyncio.wait([self._reader], timeout=0.05)
            self._reader = None
            with contextlib.suppress(redis.RedisError):
                await self._redis.delete(self._mailbox.stream)
        if self._owned:
            await self._redis.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _classify(
        self,
        item: str | Item | Mapping[str, object],
        options: AskOptions,
        timeout_s: float,
        lane: Lane,
        wait_s: float | None,
    ) -> Reply:
        self._check_usable()
        asked = question(item, options, stream=self._mailbox.stream, timeout_s=timeout_s, keys=self._keys)
        if self._reader is None or self._reader.done():
            self._reader = asyncio.get_running_loop().create_task(read_replies(self._redis, self._mailbox))
        patience = Patience(wait_s)
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    await self._await_room(lane, patience)
                    try:
                        return opened(await self._replied(lane, asked.fields, asked.disposable))
                    except InboxUnavailableError as error:
                        await asyncio.sleep(patience.pause_s(error))
        except TimeoutError:
            raise no_reply(timeout_s) from None

    async def _replied(self, lane: Lane, fields: Mapping[str, str], disposable: bool) -> Mapping[Any, Any]:
        """Send an entry that asks for a reply; the reply's fields."""
        future: asyncio.Future[Mapping[Any, Any]] = asyncio.get_running_loop().create_future()
        ticket = Ticket(lane, fields, future, wants_reply=True, disposable=disposable)
        self._flusher.add(ticket)
        try:
            return await future
        except (asyncio.CancelledError, FenliuError):
            if ticket.entry_id is not None and (future.cancelled() or future.exception()):  # and has no reply
                self._mailbox.forget(ticket.entry_id)
                if disposable:
                    self._flusher.delete(lane, ticket.entry_id)
            raise

    async def _await_room(self, lane: Lane, patience: Patience) -> int:
        """How many entries the inbox has room for, at least 1. Asks Redis only when it may be full."""
        self._check_usable()
        while (room := self._flusher.room(lane)) <= 0:
            try:
                await self._flusher.ask_length(lane)
                if (room := self._flusher.room(lane)) > 0:
                    break
                raise self._room.full(lane)
            except (InboxFullError, InboxUnavailableError) as error:
                await asyncio.sleep(patience.pause_s(error))
                self._check_usable()
        return room

    def _check_usable(self) -> None:
        """Raise InboxUnavailableError after `aclose`, SetupError in another event loop than the first call's."""
        if self._closed:
            raise InboxUnavailableError("the client was closed")
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise SetupError("this AsyncClient belongs to another event loop; make one in each loop, or use Client")

    async def _add(self, lane: Lane, chunk: Chunk, patience: Patience) -> list[str]:
        """Entry ids of a chunk, all of it added; what Redis did not take is tried again."""
        loop = asyncio.get_running_loop()
        sending = Sending(chunk.ready)
        while left := sending.left:
            tickets = [Ticket(lane, fields, loop.create_future()) for fields in left]
            for ticket in tickets:
                self._flusher.add(ticket)
            try:
                sending.settle(await asyncio.gather(*(ticket.future for ticket in tickets), return_exceptions=True))
            except InboxUnavailableError as error:
                await asyncio.sleep(patience.pause_s(error))
        return sending.entry_ids


def _connect(url: str) -> redis.asyncio.Redis:
    try:
        return redis.asyncio.Redis.from_url(url)
    except ValueError as error:
        raise wrong_url(error) from None
