"""The pulse: a thread that says this worker lives, keeps its entries its own, and ends it when a batch hangs.

What it writes is what `fenliu status` and health checks read.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import redis
import structlog

from schemas.errors import InboxUnavailableError
from schemas.names import Keys
from schemas.settings import Settings
from worker.held import Held
from worker.inbox import Inbox, translated

log = structlog.get_logger(__name__)

EXIT_HUNG = 70


class Pulse(threading.Thread):
    """Beats every heartbeat_s until `stopped` is set."""

    def __init__(
        self,
        *,
        client: redis.Redis,
        inbox: Inbox,
        held: Held,
        slots: int,
        model: str,
        settings: Settings,
        end_process: Callable[[int], Any] = os._exit,
    ) -> None:
        super().__init__(name="pulse", daemon=True)
        self._client: Any = client  # redis-py types every answer as sync-or-async
        self._inbox = inbox
        self._held = held
        self._slots = slots
        self._model = model
        self._settings = settings
        self._end_process = end_process
        self._key = settings.keys.worker(inbox.consumer)
        self._started_at = time.time()
        self._lock = threading.Lock()
        self._items = 0
        self._last_commit_at = 0.0
        self._next_sweep_at = 0.0
        self.stopped = threading.Event()

    def settled(self, items: int) -> None:
        """A slot has committed and acknowledged `items` entries."""
        with self._lock:
            self._items += items
            self._last_commit_at = time.time()

    def run(self) -> None:
        """Beat until stopped; then take the heartbeat away."""
        # The refresh must come several times within claim_idle_s, or others take what is being worked on.
        beat_s = min(self._settings.heartbeat_s, self._settings.claim_idle_s / 4)
        while True:
            self._end_if_hung()
            try:
                self.beat()
            except InboxUnavailableError as error:
                log.warning("heartbeat_failed", reason=str(error)[:200])
            if self.stopped.wait(beat_s):
                break
        try:
            with translated():
                self._client.delete(self._key)
            self._inbox.leave()
        except InboxUnavailableError:
            pass  # the heartbeat expires, and others drop the consumer

    def beat(self) -> None:
        """One heartbeat: refresh what is held, say how it goes, sweep up after the dead now and then."""
        held = self._held.refresh(self._inbox.refresh)
        with self._lock:
            state = {
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "slots": self._slots,
                "model": self._model,
                "started_at": round(self._started_at, 3),
                "items": self._items,
                "held": held,
                "last_commit_at": round(self._last_commit_at, 3),
            }
        life_s = max(10, int(self._settings.heartbeat_s * 5))
        with translated():
            pipe = self._client.pipeline(transaction=True)
            pipe.hset(self._key, mapping=state)
            pipe.expire(self._key, life_s)
            try:
                pipe.execute()
            except redis.ResponseError:
                # At maxmemory Redis takes no values; the old ones may live on, since this worker does.
                self._client.expire(self._key, life_s)
                raise
        if time.monotonic() >= self._next_sweep_at:
            self._next_sweep_at = time.monotonic() + self._settings.claim_idle_s
            self._inbox.drop_dead_consumers(4 * self._settings.claim_idle_s + self._settings.idle_poll_s)

    def _end_if_hung(self) -> None:
        busy_s = self._held.longest_in_model_s()
        if busy_s > self._settings.batch_timeout_s:
            log.critical("batch_hangs", busy_s=round(busy_s, 1), limit_s=self._settings.batch_timeout_s)
            self._end_process(EXIT_HUNG)


def workers(client: redis.Redis, keys: Keys) -> list[dict[str, str]]:
    """The heartbeats of all living workers, as text. Raises InboxUnavailableError."""
    anyway: Any = client
    with translated():
        found = [(key, anyway.hgetall(key)) for key in sorted(anyway.scan_iter(match=keys.worker_prefix + "*"))]
    return [
        {"consumer": key.decode().removeprefix(keys.worker_prefix)}
        | {name.decode(): value.decode() for name, value in fields.items()}
        for key, fields in found
        if fields
    ]
