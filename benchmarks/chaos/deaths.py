"""Workers killed with nothing else going on: how soon is what they held done by another?"""

from __future__ import annotations

import time

from benchmarks.chaos.place import place
from benchmarks.chaos.scenario import Result, Size
from benchmarks.chaos.traffic import Traffic, items

MINUTES = 1.5
ITEMS = 15_000
BURST = 1_000
_SETTLE_S = 60.0


def run(size: Size) -> Result:
    """Two of three workers are killed at the same time, again and again; the third goes on."""
    seconds, rng = size.seconds(MINUTES), size.rng("deaths")
    count = size.items or size.part(ITEMS, MINUTES)
    with place(size, workers=3) as here, Traffic(here.seen, count, seconds) as traffic:
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            traffic.burst(BURST)
            time.sleep(rng.uniform(0.1, 0.8))
            spared = rng.randrange(3)
            before = here.watch.deaths_over
            killed = sum(here.fleet.kill(number) for number in range(3) if number != spared)
            settled_by_s = time.monotonic() + _SETTLE_S
            while here.watch.deaths_over < before + killed and time.monotonic() < settled_by_s:
                time.sleep(0.05)
            here.wait_until_ready()
        traffic.finish()
        here.wait_until_empty()
        return here.result(items(count))
