"""Live entries that arrive one by one at random, however long their answers take, and how long those took.

A time runs from when an entry was due to be sent, late sending included, to its reply, which comes after the commit.
"""

from __future__ import annotations

import itertools
import random
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from schemas.names import Lane
from schemas.settings import Settings

WARM_S = 3.0
LIMIT_S = 120.0


@dataclass(frozen=True)
class Run:
    """When entries were due and answered, and how late they were sent, in seconds from the start."""

    due: list[float]
    answered: list[float]
    late: list[float]

    def latencies(self, from_s: float) -> list[float]:
        """Seconds from being due to being answered, of what was due after `from_s`."""
        return [answered - due for due, answered in zip(self.due, self.answered, strict=True) if due >= from_s]

    def answered_per_s(self, from_s: float, to_s: float) -> float:
        """Answers a second in that time."""
        return sum(from_s <= answered < to_s for answered in self.answered) / (to_s - from_s)


class Latencies:
    """Latencies of several phases, together and each."""

    def __init__(self) -> None:
        self._all: list[float] = []
        self._late: list[float] = []
        self.each: list[dict[str, float]] = []

    def add(self, run: Run) -> None:
        """Another phase."""
        latencies = run.latencies(WARM_S)
        self._all += latencies
        self._late += run.late
        self.each.append(percentiles(latencies))

    @property
    def last(self) -> str:
        """The latest phase, for people."""
        return ", ".join(f"{name} {value:.1f}" for name, value in self.each[-1].items())

    def summary(self) -> dict[str, float]:
        """All phases together."""
        return percentiles(self._all) | {"sent_late_p99_ms": percentiles(self._late)["p99_ms"]}


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Of times in seconds, how many there are and their percentiles in milliseconds."""
    ordered = sorted(seconds)
    ranks = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99, "max_ms": 1.0}
    found = {
        name: round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000, 2)
        for name, share in ranks.items()
    }
    return {"entries": float(len(ordered))} | found


def open_loop(settings: Settings, texts: Iterator[str], rate: float, seconds: float, seed: int) -> Run:
    """Entries due at random (a Poisson process) for a warm-up and so many seconds, until the last is answered."""
    random_ = random.Random(seed)  # noqa: S311 - arrival times, no secrets
    due: list[float] = []
    at_s = 0.0
    while at_s < WARM_S + seconds:
        at_s += random_.expovariate(rate)
        due.append(at_s)
    inbox, reply_to = settings.keys.inbox(Lane.LIVE), f"{settings.keys.reply_prefix}arrivals"
    answered: dict[int, float] = {}
    with redis.Redis.from_url(settings.redis_url) as sender, redis.Redis.from_url(settings.redis_url) as receiver:
        sender.delete(reply_to)
        reader = threading.Thread(target=_receive, args=(receiver, reply_to, len(due), answered))
        reader.start()
        begun_s = time.perf_counter()
        late = []
        for number, due_s in enumerate(due):
            time.sleep(max(0.0, begun_s + due_s - time.perf_counter()))
            late.append(time.perf_counter() - begun_s - due_s)
            fields = {"id": str(number), "text": next(texts), "source": f"live-{seed}", "reply_to": reply_to}
            sender.xadd(inbox, fields)
        reader.join()
    if len(answered) != len(due):
        sys.exit(f"{len(answered)} replies to {len(due)} entries: the measurement is worth nothing")
    return Run(due, [answered[number] - begun_s for number in range(len(due))], late)


def _receive(client: Any, stream: str, expected: int, answered: dict[int, float]) -> None:
    last, until = "0", time.perf_counter() + LIMIT_S
    while len(answered) < expected and time.perf_counter() < until:
        for _, entries in _pairs(client.xread({stream: last}, count=1000, block=1000)):
            now_s = time.perf_counter()
            for entry_id, fields in entries:
                last = entry_id
                answered.setdefault(int(fields[b"id"]), now_s)


def _pairs(answer: Any) -> Any:
    """(stream, entries) of an XREAD; redis-py gives a dict of nested lists when it speaks RESP3."""
    if isinstance(answer, dict):
        return [(key, list(itertools.chain.from_iterable(value))) for key, value in answer.items()]
    return answer or ()
