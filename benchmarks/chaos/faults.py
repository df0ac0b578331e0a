"""Faults of a server, one after the other, each right after a burst, so that it hits workers that have much to do."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Final

from benchmarks.chaos.place import Place
from benchmarks.chaos.traffic import Traffic

Fault = Callable[[Place, random.Random], object]

PAUSE_S: Final = 4.0
BURST: Final = 300


def one_after_the_other(
    here: Place, traffic: Traffic, faults: Sequence[Fault], rng: random.Random, seconds: float
) -> None:
    """All of them in random order, again and again for so long; then wait until what was sent is worked off."""
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        for fault in rng.sample(faults, len(faults)):
            time.sleep(rng.uniform(1, PAUSE_S))
            if time.monotonic() > until_s:
                break
            traffic.burst(BURST)
            time.sleep(rng.uniform(0, 0.3))
            fault(here, rng)
    traffic.finish()
    here.wait_until_empty()
