"""The courier: a thread with an event loop that makes calls, so that a slow receiver holds up nobody else.

It only calls and says what came of it; it touches no database.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

import structlog

from schemas.names import DeliveryState
from worker.relay.claims import Due
from worker.relay.webhook import Answer, Call, Caller

log = structlog.get_logger(__name__)

_END_S = 1.0


class Courier:
    """Calls in the background from `with` on; leaving it gives up the calls that still run."""

    def __init__(self, caller: Callable[[], Caller], on_answer: Callable[[Due, Answer], None]) -> None:
        """`on_answer` is called on the courier's thread, and must not block."""
        self._make_caller = caller
        self._on_answer = on_answer
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)
        self._ready = threading.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._caller = self._make_caller()
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(_END_S)

    def send(self, due: Due, call: Call) -> None:
        """Begin a call."""
        self._loop.call_soon_threadsafe(self._begin, due, call)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._ready.set()
        await self._ended.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._caller.close()

    def _begin(self, due: Due, call: Call) -> None:
        task = self._loop.create_task(self._call(due, call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _call(self, due: Due, call: Call) -> None:
        try:
            answer = await self._caller.call(call)
        except Exception as error:
            # A fault of ours. It counts as a failed call: else this delivery would be taken for running for ever.
            log.exception("call_broke", delivery=due.id, webhook=due.webhook_id)
            answer = Answer(DeliveryState.WAITING, error=f"could not be called: {type(error).__name__}")
        self._on_answer(due, answer)
