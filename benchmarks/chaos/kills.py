"""SIGKILL at random, all at once: 50 of workers, 20 of Redis, 20 of Postgres, while 100,000 items come in."""

from __future__ import annotations

import time

from benchmarks.chaos.place import at_times, place, run_together
from benchmarks.chaos.scenario import Result, Size
from benchmarks.chaos.traffic import Traffic, items

MINUTES = 7.0
ITEMS = 100_000
WORKER_KILLS, SERVICE_KILLS = 50, 20
AWAY_S = 3.0


def run(size: Size) -> Result:
    """A burst of items goes before every kill, so that there is something in hand."""
    seconds, rng = size.seconds(MINUTES), size.rng("kills")
    count = size.items or size.part(ITEMS, MINUTES)
    of_workers, of_services = size.part(WORKER_KILLS, MINUTES), size.part(SERVICE_KILLS, MINUTES)
    burst = count // 2 // (of_workers + 2 * of_services)

    def times(how_many: int) -> list[float]:
        return sorted(rng.uniform(1, seconds) for _ in range(how_many))

    with place(size, workers=2) as here, Traffic(here.seen, count, seconds) as traffic:

        def begun() -> None:
            traffic.burst(burst)
            time.sleep(rng.uniform(0, 0.8))

        def kill_worker() -> None:
            begun()
            first = rng.randrange(2)
            while not (here.fleet.kill(first) or here.fleet.kill(first + 1)):
                time.sleep(0.1)

        def kill_redis() -> None:
            begun()
            here.redis.kill(rng.uniform(0, AWAY_S))

        def kill_postgres() -> None:
            begun()
            here.postgres.kill(rng.uniform(0, AWAY_S))

        run_together(
            at_times(times(of_workers), kill_worker),
            at_times(times(of_services), kill_redis),
            at_times(times(of_services), kill_postgres),
        )
        traffic.finish()
        here.wait_until_empty()
        return here.result(items(count)) | {
            "kills": {"worker": of_workers, "redis": of_services, "postgres": of_services}
        }
