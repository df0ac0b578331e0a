"""The scenarios of `make chaos`, each for a few seconds, where no other test tells the same story."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from benchmarks.chaos import network, order, postgres, redis_server
from benchmarks.chaos.place import Place, place
from benchmarks.chaos.scenario import Size, violations
from benchmarks.chaos.traffic import Traffic, items

SEED = 7
ITEMS = 400


@contextmanager
def busy(**options: Any) -> Iterator[tuple[Place, Traffic]]:
    """One worker, and a producer that has sent half of its items."""
    with ExitStack() as stack:
        here = stack.enter_context(place(Size(SEED), workers=1, **options))
        traffic = stack.enter_context(Traffic(here.seen, ITEMS, 3.0))
        traffic.burst(ITEMS // 2)
        yield here, traffic


def finished(here: Place, traffic: Traffic) -> dict[str, Any]:
    """What the checks say when all has been sent and worked off."""
    traffic.finish()
    here.wait_until_empty()
    result = here.result(items(ITEMS))
    assert ({}, 0, []) == (violations(result), result["workers_that_ended_by_themselves"], traffic.errors), result
    return result


def test_connections_that_break_in_every_way_cost_nothing_and_let_the_worker_drain() -> None:
    # Given a worker and a producer that reach Redis and Postgres by a network
    rng = Size(SEED).rng("test")
    with busy(proxied=True) as (here, traffic):
        # when connections to both are reset, half closed and forgotten, one after the other
        for fault in (network.reset, network.half_closed, network.forgotten):
            for name, proxy in here.proxies.items():
                fault(here, name, proxy, rng)
            traffic.burst(50)
        # then every item has its row, and the worker stops when it is asked to
        result = finished(here, traffic)
    assert 6 == len(result["faults"])


def test_servers_that_are_there_and_refuse_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "LONGEST_S", 1.0)
    monkeypatch.setattr(redis_server, "LONGEST_S", 2.0)
    rng = Size(SEED).rng("test")
    with busy() as (here, traffic):
        postgres.read_only(here, rng)
        postgres.full(here, rng)
        postgres.crowded(here, rng)
        assert (0, 0) == redis_server.out_of_memory(here, rng)
        traffic.burst(100)
        redis_server.group_gone(here, rng)
        finished(here, traffic)


def test_workers_that_wake_up_late_overwrite_nothing_newer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "WORKERS", 2)
    result = order.run(Size(SEED, minutes=0.06, items=60))
    assert ({}, 360) == (violations(result), result["entries"])
