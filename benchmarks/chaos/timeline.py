"""What happened when, and how soon work went on after it.

Times are seconds since the timeline began. Who notes something is the scenarios' and `benchmarks.chaos.watch`'s matter.
"""

from __future__ import annotations

import bisect
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_AT_ONCE_S = 0.5
DOWN, UP, FAULT, EXIT, START = "down", "up", "fault", "exit", "start"


@dataclass(frozen=True, slots=True)
class Event:
    """`what` is a service or a worker, `how` what was done to it."""

    at_s: float
    kind: str
    what: str
    how: str = ""


@dataclass
class Timeline:
    """Thread-safe."""

    begun_s: float = field(default_factory=time.monotonic)
    events: list[Event] = field(default_factory=list)
    settled: list[tuple[float, int]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def now_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.begun_s

    def note(self, kind: str, what: str, how: str = "") -> float:
        """It happens now; the time."""
        with self._lock:
            at_s = self.now_s()
            self.events.append(Event(at_s, kind, what, how))
            return at_s

    def sample(self, settled: int) -> None:
        """So many entries have been settled by now."""
        with self._lock:
            self.settled.append((self.now_s(), settled))

    def last_settled_s(self) -> float:
        """When the last entry was settled, or the last thing happened."""
        with self._lock:
            count = self.settled[-1][1] if self.settled else 0
            at = bisect.bisect_left(self.settled, count, key=lambda sample: sample[1])
            settled_s = self.settled[at][0] if self.settled else 0.0
            return max(settled_s, self.events[-1].at_s if self.events else 0.0)

    def faults(self) -> list[dict[str, Any]]:
        """All that was done, and exits of workers that nobody had asked for."""
        kinds = {DOWN, FAULT, EXIT}
        return [
            {"at_s": round(event.at_s, 2), "what": event.what, "how": event.how or event.kind}
            for event in self.events
            if event.kind in kinds
        ]

    def faults_between(self, from_s: float, to_s: float) -> int:
        """How many things were done between these, later than at nearly the same time."""
        with self._lock:
            return sum(event.kind in (DOWN, FAULT) and from_s + _AT_ONCE_S < event.at_s < to_s for event in self.events)

    def recoveries(self) -> dict[str, list[float]]:
        """By service: seconds from its return to the next settled entry.

        While another service is away, or where one goes away again before that, time runs from the return of the last.
        """
        found: dict[str, list[float]] = {}
        waiting: list[str] = []
        away: set[str] = set()
        starts = [at_s for at_s, _ in self.settled]
        for number, event in enumerate(self.events):
            if event.kind == DOWN:
                away.add(event.what)
            if event.kind != UP:
                continue
            away.discard(event.what)
            waiting.append(event.what)
            if away:
                continue
            until_s = next((later.at_s for later in self.events[number + 1 :] if later.kind == DOWN), float("inf"))
            went_on_s = self._next_settled_s(starts, event.at_s)
            if went_on_s is not None and went_on_s < until_s:
                for what in waiting:
                    found.setdefault(what, []).append(round(went_on_s - event.at_s, 3))
                waiting = []
        return found

    def _next_settled_s(self, starts: Sequence[float], from_s: float) -> float | None:
        at = bisect.bisect_right(starts, from_s)
        before = self.settled[at - 1][1] if at else 0
        return next((at_s for at_s, settled in self.settled[at:] if settled > before), None)


def summary(seconds: Sequence[float]) -> Mapping[str, float]:
    """Count, median, 95th percentile and maximum."""
    ordered = sorted(seconds)

    def at(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    return {"count": len(ordered), "median_s": at(0.5), "p95_s": at(0.95), "max_s": ordered[-1]}
