"""Reading a reply stream to its mailbox, as an asyncio task or as a thread, for as long as the client lives.

What is read is removed with the next read, and always read from the beginning: a stream that expired, was
deleted or came back with a restarted Redis needs no care, since replies that nobody waits for are dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import redis
import redis.asyncio

from producers.chunks import as_text
from producers.mailbox import Fields, Mailbox
from producers.redis_errors import translated
from schemas.errors import SetupError

READ_ENTRIES = 1000
BLOCK_MS = 2000
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0


class _Reading:
    """The commands of each read and what their answers mean; no I/O."""

    def __init__(self, mailbox: Mailbox, pool: Any) -> None:
        self._mailbox = mailbox
        timeout_s = pool.connection_kwargs.get("socket_timeout")
        self._block_ms = BLOCK_MS if timeout_s is None else max(1, min(BLOCK_MS, int(timeout_s * 500)))
        self._read_up_to: str | None = None
        self._pause_s = 0.0

    def commands(self) -> list[tuple[object, ...]]:
        stream = self._mailbox.stream
        read = ("XREAD", "COUNT", READ_ENTRIES, "BLOCK", self._block_ms, "STREAMS", stream, "0")
        if self._read_up_to is None:
            return [read]
        ms, _, seq = self._read_up_to.partition("-")
        return [("XTRIM", stream, "MINID", "=", f"{ms}-{int(seq) + 1}"), read]

    def succeeded(self, answers: list[Any]) -> None:
        """Deliver what came; raises what Redis answered to the read."""
        if isinstance(answers[-1], Exception):
            raise answers[-1]
        self._pause_s = 0.0
        entries = list(_entries(answers[-1]))
        self._read_up_to = as_text(entries[-1][0]) if entries else None
        self._mailbox.deliver((_named(fields), fields) for _, fields in entries)

    def failed(self, error: redis.RedisError) -> float:
        """How long to pause. Who waits hears of errors that no waiting can mend."""
        ours = translated(error)
        if isinstance(ours, SetupError):
            self._mailbox.fail(ours)
        self._pause_s = min(max(_FIRST_PAUSE_S, self._pause_s * 2), _LONGEST_PAUSE_S)
        return self._pause_s


async def read_replies(server: redis.asyncio.Redis, mailbox: Mailbox) -> None:
    """Read until cancelled."""
    reading = _Reading(mailbox, server.connection_pool)
    task = asyncio.current_task()
    # wait_for of Python 3.11, in redis-py, loses a cancellation that comes as what it waits for ends.
    while task is None or not task.cancelling():
        try:
            pipeline = server.pipeline(transaction=False)
            for command in reading.commands():
                pipeline.execute_command(*command)
            reading.succeeded(await pipeline.execute(raise_on_error=False))
        except redis.RedisError as error:
            await asyncio.sleep(reading.failed(error))


class ReplyThread:
    """Reads until stopped. A daemon: it does not keep a process alive."""

    def __init__(self, server: redis.Redis, mailbox: Mailbox) -> None:
        self._server = server
        self._mailbox = mailbox
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fenliu-replies", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop, by sending the thread something to read; without Redis, after the read that is under way."""
        self._stopping.set()
        with contextlib.suppress(redis.RedisError):
            self._server.xadd(self._mailbox.stream, {"entry_id": "stop"})
        self._thread.join()

    def _run(self) -> None:
        reading = _Reading(self._mailbox, self._server.connection_pool)
        while not self._stopping.is_set():
            try:
                pipeline = self._server.pipeline(transaction=False)
                for command in reading.commands():
                    pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
                reading.succeeded(pipeline.execute(raise_on_error=False))
            except redis.RedisError as error:
                self._stopping.wait(reading.failed(error))


def _entries(answer: Any) -> Iterator[tuple[Any, Fields]]:
    """Entries of the one stream that was read, in whichever shape redis-py gives them."""
    found = list(answer.values()) if isinstance(answer, dict) else [entries for _, entries in answer or ()]
    for entries in found:
        flat = entries[0] if len(entries) == 1 and isinstance(entries[0], list) else entries
        yield from ((entry_id, fields or {}) for entry_id, fields in flat)


def _named(fields: Fields) -> str:
    return as_text(fields.get(b"entry_id") or fields.get("entry_id") or "")
