"""Faults of a server, one after the other, each right after a burst, so that it hits workers that have much to do."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from benchmarks.chaos.place import Place
from benchmarks.chaos.traffic import Traffic

Fault = Callable[[Place, random.Random], object]

PAUSE_S: Final = 4.0
BURST: Final = 300


def one_after_the_other(
    here: Place, traffic: Traffic, faults: Sequence[Fault], rng: random.Random, seconds: float
) -> None:
    """As `again_and_again`; then wait until what was sent is worked off."""
    acts = [partial(fault, here, rng) for fault in faults]
    again_and_again(traffic, acts, rng, seconds, pause_s=PAUSE_S, burst=BURST)
    traffic.finish()
    here.wait_until_empty()


def again_and_again(
    traffic: Traffic,
    acts: Sequence[Callable[[], object]],
    rng: random.Random,
    seconds: float,
    *,
    pause_s: float,
    burst: int,
) -> None:
    """All acts in random order, again and again for so long, each after a pause of up to `pause_s` and a burst."""
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        for act in rng.sample(acts, len(acts)):
            time.sleep(rng.uniform(1, pause_s))
            if time.monotonic() > until_s:
                return
            traffic.burst(burst)
            time.sleep(rng.uniform(0, 0.3))
            act()
