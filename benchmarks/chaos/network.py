"""Connections that are reset, refused, stalled, forgotten, half closed and slow, to Redis and to Postgres at once."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial

from benchmarks.chaos.faults import again_and_again
from benchmarks.chaos.place import Place, place, run_together
from benchmarks.chaos.proxy import Proxy
from benchmarks.chaos.scenario import Result, Size
from benchmarks.chaos.timeline import DOWN, FAULT, UP
from benchmarks.chaos.traffic import Traffic, items

MINUTES = 2.25
ITEMS = 22_000
LONGEST_S = 8.0
PAUSE_S = 12.0
BURST = 200


def run(size: Size) -> Result:
    """Two threads of faults, one for each server; workers and producers go through the same proxies."""
    seconds = size.seconds(MINUTES)
    count = size.items or size.part(ITEMS, MINUTES)
    with place(size, workers=2, proxied=True) as here, Traffic(here.seen, count, seconds) as traffic:
        run_together(*(_faults(here, traffic, name, seconds, size.rng(f"network {name}")) for name in here.proxies))
        traffic.finish()
        here.wait_until_empty()
        return here.result(items(count))


def _faults(here: Place, traffic: Traffic, name: str, seconds: float, rng: random.Random) -> Callable[[], None]:
    acts = [partial(act, here, name, here.proxies[name], rng) for act in _ACTS]
    return partial(again_and_again, traffic, acts, rng, seconds, pause_s=PAUSE_S, burst=BURST)


def reset(here: Place, name: str, proxy: Proxy, rng: random.Random) -> None:  # noqa: ARG001 - like the others
    """Connections end at once."""
    here.timeline.note(DOWN, name, "connections reset")
    proxy.drop()
    here.timeline.note(UP, name)


def refused(here: Place, name: str, proxy: Proxy, rng: random.Random) -> None:
    """And new ones, too, for a while."""
    for_s = rng.uniform(0.5, LONGEST_S)
    here.timeline.note(DOWN, name, f"connections reset and refused for {for_s:.1f} s")
    proxy.refuse(True)
    proxy.drop()
    time.sleep(for_s)
    proxy.refuse(False)
    here.timeline.note(UP, name)


def stalled(here: Place, name: str, proxy: Proxy, rng: random.Random) -> None:
    """Nothing is forwarded for a while, then all of it."""
    for_s = rng.uniform(0.5, LONGEST_S)
    here.timeline.note(DOWN, name, f"nothing forwarded for {for_s:.1f} s")
    proxy.stall(True)
    time.sleep(for_s)
    proxy.stall(False)
    here.timeline.note(UP, name)


def forgotten(here: Place, name: str, proxy: Proxy, rng: random.Random) -> None:  # noqa: ARG001
    """Connections that are open forward nothing any more."""
    here.timeline.note(DOWN, name, "nothing forwarded any more on open connections")
    proxy.forget()
    here.timeline.note(UP, name)


def half_closed(here: Place, name: str, proxy: Proxy, rng: random.Random) -> None:
    """One end hears that no more will come."""
    toward_server = rng.random() < 0.5
    here.timeline.note(DOWN, name, f"connections half closed, {'to the server' if toward_server else 'to the client'}")
    proxy.half_close(toward_server)
    here.timeline.note(UP, name)


def slow(here: Place, name: str, proxy: Proxy, rng: random.Random) -> None:
    """Everything comes late."""
    delay_s, for_s = rng.uniform(0.02, 0.5), rng.uniform(2, LONGEST_S)
    here.timeline.note(FAULT, name, f"{delay_s * 1000:.0f} ms late for {for_s:.1f} s")
    proxy.delay(delay_s)
    time.sleep(for_s)
    proxy.delay(0)


_ACTS = (reset, refused, stalled, forgotten, half_closed, slow)
