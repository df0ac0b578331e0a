"""A thread that looks on: how many entries are settled, and when those that a dead worker held are.

It has a connection to Redis of its own, past all proxies, and asks often; where Redis is away it knows nothing.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from typing import Any

import redis

from benchmarks.chaos.timeline import Timeline
from schemas.names import GROUP, Keys

_LOOK_S = 0.02
_TIMEOUT_S = 1.0
_MOST = 5_000


@dataclass
class _Death:
    """A worker's: `left` is what it held and is not settled yet, by stream; None as long as nobody could look."""

    pid: int
    at_s: float
    left: list[tuple[str, bytes]] | None = None


class Watch(threading.Thread):
    """Looks until `stopped` is set."""

    def __init__(self, redis_url: str, keys: Keys, timeline: Timeline) -> None:
        super().__init__(name="watch", daemon=True)
        self._client: Any = redis.Redis.from_url(
            redis_url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S, retry=None
        )
        self._streams = list(keys.inboxes.values())
        self._timeline = timeline
        self._deaths: list[_Death] = []
        self._lock = threading.Lock()
        self.recoveries: list[float] = []  # seconds, where nothing else happened meanwhile
        self.disturbed: list[float] = []  # where something did
        self.held_nothing = 0
        self.deaths_over = 0
        self.stopped = threading.Event()

    def died(self, pid: int) -> None:
        """This worker has just been killed."""
        with self._lock:
            self._deaths.append(_Death(pid, self._timeline.now_s()))

    def run(self) -> None:
        """Look."""
        while not self.stopped.is_set():
            begun_s = time.monotonic()
            with contextlib.suppress(redis.RedisError):  # it is away, or loading
                self._look()
            self.stopped.wait(max(0.001, _LOOK_S - (time.monotonic() - begun_s)))

    def _look(self) -> None:
        pipe = self._client.pipeline(transaction=False)
        for stream in self._streams:
            pipe.xinfo_stream(stream)
        infos = pipe.execute(raise_on_error=False)
        known = [info for info in infos if isinstance(info, dict)]
        if len(known) < len(infos) and not all(isinstance(info, dict | redis.ResponseError) for info in infos):
            return
        self._timeline.sample(sum(info["entries-added"] - info["length"] for info in known))
        with self._lock:
            deaths = list(self._deaths)
        for death in deaths:
            if self._is_over(death):
                with self._lock:
                    self._deaths.remove(death)
                    self.deaths_over += 1

    def _is_over(self, death: _Death) -> bool:
        if death.left is None:
            death.left = self._held_by(death.pid)
            if not death.left:
                self.held_nothing += 1
                return True
        while death.left:
            stream, entry_id = death.left[-1]
            if self._client.xrange(stream, entry_id, entry_id):
                return False
            death.left.pop()
        now_s = self._timeline.now_s()
        alone = not self._timeline.faults_between(death.at_s, now_s)
        (self.recoveries if alone else self.disturbed).append(round(now_s - death.at_s, 3))
        return True

    def _held_by(self, pid: int) -> list[tuple[str, bytes]]:
        held = []
        for stream in self._streams:
            for consumer in self._client.xinfo_consumers(stream, GROUP):
                name = consumer["name"].decode()
                if name.split("-")[-2:-1] == [str(pid)] and consumer["pending"]:
                    rows = self._client.xpending_range(stream, GROUP, "-", "+", _MOST, consumername=name)
                    held += [(stream, row["message_id"]) for row in rows]
        return held
