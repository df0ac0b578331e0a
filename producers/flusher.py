"""What many tasks of one event loop send at the same moment, in one pipeline; one pipeline is under way at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import redis
import redis.asyncio

from producers.chunks import CHUNK_CHARS, CHUNK_ENTRIES, as_text
from producers.mailbox import Mailbox
from producers.patience import Room
from producers.redis_errors import translated
from schemas.errors import FenliuError, InboxUnavailableError
from schemas.names import Keys, Lane


@dataclass(slots=True, eq=False)
class Ticket:
    """One entry on its way. `future` gets the entry id, or where a reply is wanted its fields, or the error.

    Nobody needs the result of a `disposable` one whose future is done.
    """

    lane: Lane
    fields: Mapping[str, str]
    future: asyncio.Future[Any]
    wants_reply: bool = False
    disposable: bool = False
    entry_id: str | None = None


class Flusher:
    """Sends tickets, deletions and questions for lengths. Belongs to one event loop.

    A pipeline leaves when the tasks that are ready now have had their turn; what is added while it is under
    way goes with the next one, so that pipelines grow with the load by themselves.
    """

    def __init__(self, server: redis.asyncio.Redis, keys: Keys, room: Room, mailbox: Mailbox) -> None:
        self._server = server
        self._keys = keys
        self._room = room
        self._mailbox = mailbox
        self._tickets: deque[Ticket] = deque()
        self._deletions: dict[Lane, list[str]] = {}
        self._lengths: dict[Lane, asyncio.Future[None]] = {}
        self._unsent = dict.fromkeys(Lane, 0)
        self._task: asyncio.Task[None] | None = None

    def room(self, lane: Lane) -> int:
        """Entries that the inbox has room for, as far as is known; what is on its way there counts."""
        return self._room.left(lane) - self._unsent[lane]

    def add(self, ticket: Ticket) -> None:
        """Send this entry, unless its future is done before the pipeline leaves."""
        self._tickets.append(ticket)
        self._unsent[ticket.lane] += 1
        self._wake()

    def delete(self, lane: Lane, entry_id: str) -> None:
        """Take an entry out of its inbox, as well as can be."""
        self._deletions.setdefault(lane, []).append(entry_id)
        self._wake()

    async def ask_length(self, lane: Lane) -> None:
        """Have `room` know the inbox's length as of now. Raises InboxUnavailableError or SetupError."""
        future = self._lengths.get(lane)
        if future is None:
            future = self._lengths[lane] = asyncio.get_running_loop().create_future()
            self._wake()
        await asyncio.shield(future)

    async def drained(self) -> None:
        """Wait until all that was added has been sent, or has failed."""
        while self._task is not None:
            await asyncio.wait([self._task])

    def _wake(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            while self._tickets or self._deletions or self._lengths:
                await self._flush()
        finally:
            self._task = None

    async def _flush(self) -> None:
        taken = self._take()
        sent = [ticket for ticket in taken if not ticket.future.done()]
        deletions, self._deletions = self._deletions, {}
        lengths, self._lengths = self._lengths, {}
        problem: Exception | None = InboxUnavailableError("this task was cancelled while it sent entries")
        answers: Sequence[object] = ()
        with self._mailbox.sending():
            try:
                lanes = {*lengths, *(ticket.lane for ticket in sent)}
                answers = await self._send(sent, deletions, lanes)
                problem = None
            except redis.RedisError as error:
                problem = error
            finally:
                for ticket in taken:
                    self._unsent[ticket.lane] -= 1
                for ticket, answer in zip(sent, answers if problem is None else [problem] * len(sent), strict=True):
                    self._settle(ticket, answer)
                for future in lengths.values():
                    _finish(future, problem)

    def _take(self) -> list[Ticket]:
        """The next tickets, bounded in number and characters."""
        taken: list[Ticket] = []
        chars = 0
        while self._tickets and len(taken) < CHUNK_ENTRIES and chars < CHUNK_CHARS:
            ticket = self._tickets.popleft()
            chars += sum(map(len, ticket.fields.values()))
            taken.append(ticket)
        return taken

    async def _send(
        self, tickets: Sequence[Ticket], deletions: Mapping[Lane, Sequence[str]], lanes: Collection[Lane]
    ) -> list[object]:
        """One round trip: an answer for each ticket. Learns the length of `lanes` by the way."""
        if not (tickets or deletions or lanes):
            return []
        streams = self._keys.inboxes
        pipeline = self._server.pipeline(transaction=False)
        for ticket in tickets:
            pipeline.execute_command("XADD", streams[ticket.lane], "*", *chain.from_iterable(ticket.fields.items()))
        for lane in lanes:
            pipeline.execute_command("XLEN", streams[lane])
        for lane, entry_ids in deletions.items():
            pipeline.execute_command("XDEL", streams[lane], *entry_ids)
        try:
            answers = await pipeline.execute(raise_on_error=False)
        except redis.RedisError:
            for lane in lanes:
                self._room.learn(lane, None)
            raise
        for lane, length in zip(lanes, answers[len(tickets) :], strict=False):
            self._room.learn(lane, length)
        return answers[: len(tickets)]

    def _settle(self, ticket: Ticket, answer: object) -> None:
        if isinstance(answer, Exception):
            _finish(ticket.future, answer)
            return
        ticket.entry_id = as_text(answer)
        if not ticket.wants_reply:
            _finish(ticket.future, None, ticket.entry_id)
        elif not ticket.future.done():
            self._mailbox.expect(ticket.entry_id, ticket.future)
        elif ticket.disposable:
            self.delete(ticket.lane, ticket.entry_id)


def _finish(future: asyncio.Future[Any], error: Exception | None, result: object = None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error if isinstance(error, FenliuError) else translated(error))
