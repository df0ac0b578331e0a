"""Live questions one by one, at random, each with a reply: how long it took, by phase."""

from __future__ import annotations

import random
import threading
import time
from typing import Any, Final

import redis

from benchmarks.texts import sample_texts
from producers.client import Client
from schemas.errors import InboxFullError
from schemas.names import Lane
from schemas.settings import Settings

_WAIT_S: Final = 120.0
_READ_MS: Final = 500


class LiveCallers:
    """Used as a context: asks until its end, then waits for what is unanswered. `sent`: entries that were taken in."""

    def __init__(self, settings: Settings, per_s: float, randomly: random.Random) -> None:
        self.per_s = per_s
        self._settings = settings
        self._random = randomly
        self._stream = f"{settings.keys.reply_prefix}callers"
        self._asked: dict[str, tuple[float, str]] = {}
        self._took_s: dict[str, list[float]] = {}
        self._refused: dict[str, int] = {}
        self._last: list[float] = []
        self._lock = threading.Lock()
        self._phase = ""
        self._stop = threading.Event()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._ask, self._read)]
        self.sent = 0

    def __enter__(self) -> LiveCallers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._threads[0].join(10)
        until_s = time.monotonic() + _WAIT_S
        while self._asked and time.monotonic() < until_s:
            time.sleep(0.1)
        self._over.set()
        self._threads[1].join(10)

    def now_in(self, phase: str) -> None:
        """What is asked from now on belongs to this phase."""
        self._phase = phase

    def unanswered(self) -> int:
        """Questions without a reply."""
        return len(self._asked)

    def median_ms_of_last(self) -> float | None:
        """Of the answers since this was asked last; None where there were none."""
        with self._lock:
            last, self._last = sorted(self._last), []
        return round(1000 * last[len(last) // 2], 1) if last else None

    def answers(self, phase: str) -> dict[str, Any]:
        """How many were answered and refused, and percentiles of the time it took."""
        took_s = sorted(self._took_s.get(phase, []))
        ranks = {"p50_ms": 0.5, "p99_ms": 0.99, "max_ms": 1.0} if took_s else {}
        return {"answered": len(took_s), "refused": self._refused.get(phase, 0)} | {
            name: round(1000 * took_s[min(len(took_s) - 1, int(share * len(took_s)))], 1)
            for name, share in ranks.items()
        }

    def _ask(self) -> None:
        texts = sample_texts()
        due_s = time.monotonic()
        with Client.from_settings(self._settings) as client:
            while not self._stop.wait(max(0.0, due_s - time.monotonic())):
                item_id = str(self.sent)
                words = f"{self.sent}：{texts[self.sent % len(texts)]}"
                asked_s, phase = due_s, self._phase
                self._asked[item_id] = (asked_s, phase)
                try:
                    client.enqueue(item_id, words, source="caller", lane=Lane.LIVE, reply_to=self._stream)
                    self.sent += 1
                except InboxFullError:
                    del self._asked[item_id]
                    self._refused[phase] = self._refused.get(phase, 0) + 1
                due_s += self._random.expovariate(self.per_s)

    def _read(self) -> None:
        last = "0"
        with redis.Redis.from_url(self._settings.redis_url, protocol=2) as client:
            anyway: Any = client
            while not self._over.is_set():
                for _, entries in anyway.xread({self._stream: last}, count=1_000, block=_READ_MS) or ():
                    now_s = time.monotonic()
                    for entry_id, fields in entries:
                        last = entry_id
                        self._answered(fields[b"id"].decode(), now_s)

    def _answered(self, item_id: str, now_s: float) -> None:
        asked = self._asked.pop(item_id, None)
        if asked is None:
            return
        asked_s, phase = asked
        with self._lock:
            self._took_s.setdefault(phase, []).append(now_s - asked_s)
            self._last.append(now_s - asked_s)
