"""Two sides of a comparison that have the machine by turns."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from benchmarks.alternating import alternately
from tests.waiting import wait_for


class Sleeping:
    """A side that is done after it was asked so often. When asked, it goes and the other, if not done, stands still."""

    def __init__(self, pid: int, asks: int) -> None:
        self.pids = [pid]
        self.asks = asks
        self.begun = 0
        self.other: Sleeping | None = None

    def stands(self) -> bool:
        return bool(psutil.Process(self.pids[0]).status() == psutil.STATUS_STOPPED)

    def begin(self) -> None:
        self.begun += 1

    def done(self) -> bool:
        assert self.other is not None
        wait_for(lambda: not self.stands(), 5, "our turn to begin")
        if self.other.asks:
            wait_for(self.other.stands, 5, "the other one to stop")
        self.asks -= 1
        return not self.asks


@contextmanager
def two(asks: tuple[int, int]) -> Iterator[tuple[Sleeping, Sleeping]]:
    started = [subprocess.Popen(["sleep", "60"]) for _ in asks]
    one, other = (Sleeping(process.pid, each) for process, each in zip(started, asks, strict=True))
    one.other, other.other = other, one
    try:
        yield one, other
    finally:
        for process in started:
            process.kill()
            process.wait()


def test_one_stands_still_while_the_other_works() -> None:
    # Given two sides with work for several turns each, one with more of it
    with two((10, 40)) as (one, other):
        # When they have their turns
        took_s = alternately(one, other, window_s=0.02)
        # Then each was begun once and did all of it, the longer one took longer, and both go on afterwards
        assert [(1, 0), (1, 0)] == [(side.begun, side.asks) for side in (one, other)]
        assert 0 < took_s[0] < took_s[1]
        wait_for(lambda: not (one.stands() or other.stands()), 5, "both to go on")


def test_both_go_on_when_one_fails() -> None:
    # Given a side that fails in its first turn, when they have their turns
    with two((1, 1)) as (one, other):
        one.other = None
        with pytest.raises(AssertionError):
            alternately(one, other)
        # Then nothing is left standing
        wait_for(lambda: not (one.stands() or other.stands()), 5, "both to go on")
