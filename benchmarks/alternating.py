"""Two sides of a comparison that have the machine by turns of half a second: while one works, the other is stopped.

A machine whose speed changes by a fifth from one ten seconds to the next tells nothing of two sides that are measured
one after the other. So both are begun, and SIGSTOP and SIGCONT decide whose turn it is; each side's time is that of
its turns alone. What a side measures of itself by the clock counts the time in which it stood still as well.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Sequence
from typing import Final, Protocol

WINDOW_S: Final = 0.5
_POLL_S: Final = 0.004


class Side(Protocol):
    """What is compared: `pids` are all processes that work for it, but for ours."""

    @property
    def pids(self) -> Sequence[int]:
        """Of processes of ours that do nothing else meanwhile."""

    def begin(self) -> None:
        """Give it its work, as the first thing in its first turn."""

    def done(self) -> bool:
        """Whether it has done all of it; asked in its turns only, every few milliseconds."""


def alternately(first: Side, second: Side, window_s: float = WINDOW_S) -> tuple[float, float]:
    """Seconds of their own turns that the two took until they were done. All go on afterwards, whatever happens."""
    took_s = [0.0, 0.0]
    sides = [first, second]
    waiting = [0, 1]
    begun: set[int] = set()
    try:
        for side in sides:
            _signal(side.pids, signal.SIGSTOP)
        while waiting:
            number = waiting.pop(0)
            side = sides[number]
            _signal(side.pids, signal.SIGCONT)
            turn_s = time.perf_counter()
            if number not in begun:
                begun.add(number)
                side.begin()
            done = side.done()
            while not done and time.perf_counter() - turn_s < window_s:
                time.sleep(_POLL_S)
                done = side.done()
            took_s[number] += time.perf_counter() - turn_s
            if not done:
                waiting.append(number)
                if len(waiting) > 1:
                    _signal(side.pids, signal.SIGSTOP)
    finally:
        for side in sides:
            _signal(side.pids, signal.SIGCONT)
    return took_s[0], took_s[1]


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # a server's process that has ended meanwhile
            os.kill(pid, number)
