"""A Redis that is there and does not do what is asked: out of memory, its group gone, paused, frozen; restarts."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis

from benchmarks.chaos.faults import one_after_the_other
from benchmarks.chaos.place import Place, place
from benchmarks.chaos.scenario import Result, Size
from benchmarks.chaos.timeline import DOWN, FAULT, UP
from benchmarks.chaos.traffic import Traffic, items
from producers.client import Client
from schemas.errors import InboxUnavailableError
from schemas.names import GROUP

MINUTES = 1.5
ITEMS = 15_000
LONGEST_S = 8.0
_EMPTY_S = 30.0


def run(size: Size) -> Result:
    """One fault after the other, in random order, again and again."""
    seconds, rng = size.seconds(MINUTES), size.rng("redis")
    count = size.items or size.part(ITEMS, MINUTES)
    checks = {"producers not told that Redis is full": 0, "entries not settled while Redis was full": 0}
    with place(size) as here, Traffic(here.seen, count, seconds) as traffic:

        def counted(here: Place, rng: random.Random) -> None:
            untold, unsettled = out_of_memory(here, rng)
            checks["producers not told that Redis is full"] += untold
            checks["entries not settled while Redis was full"] += unsettled

        faults = [counted, group_gone, _no_scripts, _connections_killed, _paused, _frozen, _restarted]
        one_after_the_other(here, traffic, faults, rng, seconds)
        result = here.result(items(count))
        result["checks"] |= checks
        return result


def out_of_memory(here: Place, rng: random.Random) -> tuple[int, int]:
    """Whether a producer was not told, and how many entries were not settled meanwhile."""
    for_s = rng.uniform(2, LONGEST_S)
    here.timeline.note(FAULT, "redis", f"out of memory for {for_s:.1f} s")
    here.client.config_set("maxmemory", 1)
    try:
        with Client.from_settings(here.settings) as producer:
            try:
                producer.enqueue("unwelcome", "无", source="nobody")
                untold = 1
            except InboxUnavailableError:
                untold = 0
        ends_s, patient_s = time.monotonic() + for_s, time.monotonic() + _EMPTY_S
        streams = list(here.settings.keys.inboxes.values())
        while time.monotonic() < ends_s or (_length(here.client, streams) and time.monotonic() < patient_s):
            time.sleep(0.05)
        return untold, _length(here.client, streams)
    finally:
        here.client.config_set("maxmemory", 0)


def _length(client: Any, streams: list[str]) -> int:
    return sum(client.xlen(stream) for stream in streams)


@contextmanager
def _away(here: Place, how: str) -> Iterator[None]:
    here.timeline.note(DOWN, "redis", how)
    yield
    here.timeline.note(UP, "redis")


def group_gone(here: Place, rng: random.Random) -> None:  # noqa: ARG001 - like the others
    """XGROUP DESTROY, by hand."""
    with _away(here, "consumer group deleted"):
        for stream in here.settings.keys.inboxes.values():
            here.client.xgroup_destroy(stream, GROUP)


def _no_scripts(here: Place, rng: random.Random) -> None:  # noqa: ARG001
    with _away(here, "scripts forgotten"):
        here.client.script_flush()


def _connections_killed(here: Place, rng: random.Random) -> None:  # noqa: ARG001
    with _away(here, "all connections closed"):
        here.client.client_kill_filter(_type="normal", skipme=True)


def _paused(here: Place, rng: random.Random) -> None:
    for_s = rng.uniform(0.5, 1.5 * LONGEST_S)
    with _away(here, f"answers nobody for {for_s:.1f} s"):
        here.client.client_pause(int(for_s * 1000))
        time.sleep(for_s)
        while not _answers(here.client):
            time.sleep(0.05)


def _answers(client: Any) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def _frozen(here: Place, rng: random.Random) -> None:
    here.redis.freeze(rng.uniform(0.5, 1.5 * LONGEST_S))


def _restarted(here: Place, rng: random.Random) -> None:
    here.redis.restart(rng.uniform(0, 2))
