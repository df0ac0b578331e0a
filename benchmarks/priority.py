"""What live traffic feels of a saturating backfill: latency with and without it, at half of the machine's capacity.

    python -m benchmarks.priority [--seconds 8] [--rounds 2]

One worker process on embedded servers, as in production. First the capacity: how many bulk texts a second it works off,
and how many live ones it answers when more arrive one by one than it can take. Then live entries arrive one by one at
half of that, at random (a Poisson process), alternately with no bulk at all and with a bulk inbox that another process
keeps filled. Latency runs from the time at which an entry was due to be sent, late sending included, to its reply,
which comes after the commit. Generator, Redis and Postgres share the CPUs with the worker. Also measured: what bulk
got meanwhile.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from sqlalchemy import text as sql

from benchmarks.arrivals import WARM_S, Latencies, open_loop
from benchmarks.inbox import worked_off
from benchmarks.machine import keep_result
from benchmarks.stack import running_worker, scratch_stack, until
from benchmarks.texts import distinct_texts
from schemas.database import make_engine
from schemas.names import Keys, Lane
from schemas.settings import Settings

TEXTS = 30_000
BULK_TEXTS = 10_000
BULK_KEPT = 2_000
CAPACITY_S = 5.0
WARM_TEXTS, CAPACITY_TEXTS = 256, 1_024
FLOOD = 1.3
ALLOWED_MORE_MS = 10.0


def main(arguments: Sequence[str] = ()) -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each phase, after its warm-up")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--rate", type=float, default=0.0, help="live entries per second; 0: half of the capacity")
    parser.add_argument("--dry", action="store_true", help="print the result instead of writing it")
    options = parser.parse_args(arguments)
    texts = itertools.cycle(distinct_texts(TEXTS))
    with scratch_stack() as settings, running_worker(settings) as worker:
        result = _measured(settings, worker, texts, options)
    keep_result("priority", result, dry=options.dry)


def _measured(
    settings: Settings, worker: subprocess.Popen[bytes], texts: Iterator[str], options: argparse.Namespace
) -> dict[str, Any]:
    with redis.Redis.from_url(settings.redis_url) as client:
        worked_off(settings, client, worker, list(itertools.islice(texts, WARM_TEXTS)), "warm")
        some = list(itertools.islice(texts, CAPACITY_TEXTS))
        bulk_capacity = len(some) / worked_off(settings, client, worker, some, "capacity", lane=Lane.BULK)
        flood = open_loop(settings, texts, FLOOD * bulk_capacity, CAPACITY_S, seed=99)
        capacity = {"live": flood.answered_per_s(WARM_S, WARM_S + CAPACITY_S), "bulk": bulk_capacity}
        rate = options.rate or capacity["live"] / 2
        print(f"capacity {capacity}, live {rate:.1f}/s")  # noqa: T201 - a command's output
        quiet, busy, bulk_rates = Latencies(), Latencies(), []
        for number in range(options.rounds):
            quiet.add(open_loop(settings, texts, rate, options.seconds, 2 * number))
            with _backfill(settings, client, number * BULK_TEXTS // options.rounds):
                before = _bulk_done(settings)
                begun_s = time.perf_counter()
                busy.add(open_loop(settings, texts, rate, options.seconds, 2 * number + 1))
                bulk_rates.append((_bulk_done(settings) - before) / (time.perf_counter() - begun_s))
            until(lambda: not any(client.xlen(key) for key in settings.keys.inboxes.values()), worker)
            print(f"round {number + 1}: quiet {quiet.last}, with backfill {busy.last}")  # noqa: T201
    allowed_ms = settings.bulk_batch_ms + ALLOWED_MORE_MS
    difference_ms = busy.summary()["p99_ms"] - quiet.summary()["p99_ms"]
    return {
        "slots": settings.slots_at_once,
        "bulk_batch_ms": settings.bulk_batch_ms,
        "capacity_texts_per_s": capacity,
        "live_per_s": rate,
        "quiet": quiet.summary(),
        "with_backfill": busy.summary(),
        "bulk_texts_per_s": sum(bulk_rates) / len(bulk_rates),
        "p99_difference_ms": difference_ms,
        "p99_difference_allowed_ms": allowed_ms,
        "rounds": [{"quiet": one, "with_backfill": other} for one, other in zip(quiet.each, busy.each, strict=True)],
    }


@contextmanager
def _backfill(settings: Settings, client: Any, first: int) -> Iterator[None]:
    """A process that keeps the bulk inbox filled; what is left of it afterwards is taken away."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    producer = context.Process(
        target=_keep_filled, args=(settings.redis_url, settings.prefix, first, stop), daemon=True
    )
    producer.start()
    try:
        yield
    finally:
        stop.set()
        producer.join(10)
        client.xtrim(settings.keys.inbox(Lane.BULK), maxlen=0, approximate=False)


def _keep_filled(url: str, prefix: str, first: int, stop: Any) -> None:
    os.nice(10)
    texts = distinct_texts(TEXTS + BULK_TEXTS)[TEXTS:]  # none that come live
    numbers = itertools.count(first)
    inbox = Keys(prefix).inbox(Lane.BULK)
    with redis.Redis.from_url(url) as client:
        while not stop.is_set():
            room = max(0, BULK_KEPT - int(client.xlen(inbox)))
            _add(client, inbox, "bulk", ((n, texts[n % len(texts)]) for n in itertools.islice(numbers, room)))
            stop.wait(0.5)


def _add(client: Any, inbox: str, source: str, texts: Iterable[tuple[int, str]]) -> None:
    pipeline = client.pipeline(transaction=False)
    for number, text in texts:
        pipeline.xadd(inbox, {"id": str(number), "text": text, "source": source})
    pipeline.execute()


def _bulk_done(settings: Settings) -> int:
    engine = make_engine(settings)
    try:
        with engine.connect() as connection:
            return int(connection.execute(sql("SELECT count(*) FROM items WHERE source = 'bulk'")).scalar_one())
    finally:
        engine.dispose()


if __name__ == "__main__":
    main(sys.argv[1:])
