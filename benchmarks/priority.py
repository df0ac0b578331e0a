"""What live traffic feels of a saturating backfill: latency with and without it, at half of the machine's capacity.

    python -m benchmarks.priority [--seconds 15] [--rounds 2]

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
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import redis
from sqlalchemy import text as sql

from benchmarks.machine import write_result
from benchmarks.pipeline import worked_off
from benchmarks.stack import running_worker, scratch_stack, until
from benchmarks.texts import distinct_texts
from schemas.database import make_engine
from schemas.names import Keys, Lane
from schemas.settings import Settings, cpu_quota

TEXTS = 2_000
BULK_KEPT = 2_000
WARM_S = 3.0
CAPACITY_S = 6.0
FLOOD = 1.3
ALLOWED_MORE_MS = 10.0
LIMIT_S = 120.0


def main(arguments: Sequence[str] = ()) -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each phase, after its warm-up")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--rate", type=float, default=0.0, help="live entries per second; 0: half of the capacity")
    parser.add_argument("--dry", action="store_true", help="print the result instead of writing it")
    options = parser.parse_args(arguments)
    texts = distinct_texts(TEXTS)
    with scratch_stack() as settings, running_worker(settings) as worker:
        result = _measured(settings, worker, texts, options)
    if options.dry:
        print(result)  # noqa: T201 - a command's output
    else:
        write_result("priority", result)


def _measured(
    settings: Settings, worker: subprocess.Popen[bytes], texts: Sequence[str], options: argparse.Namespace
) -> dict[str, Any]:
    with redis.Redis.from_url(settings.redis_url) as client:
        worked_off(settings, client, worker, texts[:200], "capacity")  # warm
        half = texts[::2]
        bulk_capacity = len(half) / worked_off(settings, client, worker, half, "capacity", lane=Lane.BULK)
        flood = _live(settings, texts, FLOOD * bulk_capacity, CAPACITY_S, seed=99)
        capacity = {"live": flood.answered_per_s(WARM_S, WARM_S + CAPACITY_S), "bulk": bulk_capacity}
        rate = options.rate or capacity["live"] / 2
        print(f"capacity {capacity}, live {rate:.1f}/s")  # noqa: T201 - a command's output
        quiet, busy, bulk_rates = _Latencies(), _Latencies(), []
        for number in range(options.rounds):
            quiet.add(_live(settings, texts, rate, options.seconds, number))
            with _backfill(settings, client):
                before = _bulk_done(settings)
                begun_s = time.perf_counter()
                busy.add(_live(settings, texts, rate, options.seconds, number))
                bulk_rates.append((_bulk_done(settings) - before) / (time.perf_counter() - begun_s))
            until(lambda: not any(client.xlen(key) for key in settings.keys.inboxes.values()), worker)
            print(f"round {number + 1}: quiet {quiet.last}, with backfill {busy.last}")  # noqa: T201
    allowed_ms = settings.bulk_batch_ms + ALLOWED_MORE_MS
    difference_ms = busy.summary()["p99_ms"] - quiet.summary()["p99_ms"]
    return {
        "slots": settings.slots or cpu_quota(),
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


@dataclass(frozen=True)
class _Run:
    """When entries were due and answered, and how late they were sent, in seconds from the start."""

    due: list[float]
    answered: list[float]
    late: list[float]

    def latencies(self, from_s: float) -> list[float]:
        return [answered - due for due, answered in zip(self.due, self.answered, strict=True) if due >= from_s]

    def answered_per_s(self, from_s: float, to_s: float) -> float:
        return sum(from_s <= answered < to_s for answered in self.answered) / (to_s - from_s)


class _Latencies:
    """Latencies of several phases, together and each."""

    def __init__(self) -> None:
        self._all: list[float] = []
        self._late: list[float] = []
        self.each: list[dict[str, float]] = []

    def add(self, run: _Run) -> None:
        latencies = run.latencies(WARM_S)
        self._all += latencies
        self._late += run.late
        self.each.append(_percentiles(latencies))

    @property
    def last(self) -> str:
        return ", ".join(f"{name} {value:.1f}" for name, value in self.each[-1].items())

    def summary(self) -> dict[str, float]:
        return _percentiles(self._all) | {"sent_late_p99_ms": _percentiles(self._late)["p99_ms"]}


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    ranks = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99, "max_ms": 1.0}
    found = {
        name: round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000, 2)
        for name, share in ranks.items()
    }
    return {"entries": float(len(ordered))} | found


def _live(settings: Settings, texts: Sequence[str], rate: float, seconds: float, seed: int) -> _Run:
    """Entries due at random for a warm-up and so many seconds, until the last has been answered."""
    random_ = random.Random(seed)  # noqa: S311 - arrival times, no secrets
    due: list[float] = []
    at_s = 0.0
    while at_s < WARM_S + seconds:
        at_s += random_.expovariate(rate)
        due.append(at_s)
    inbox, reply_to = settings.keys.inbox(Lane.LIVE), f"{settings.keys.reply_prefix}priority"
    answered: dict[int, float] = {}
    with redis.Redis.from_url(settings.redis_url) as sender, redis.Redis.from_url(settings.redis_url) as receiver:
        sender.delete(reply_to)
        reader = threading.Thread(target=_receive, args=(receiver, reply_to, len(due), answered))
        reader.start()
        begun_s = time.perf_counter()
        late = []
        for number, due_s in enumerate(due):
            time.sleep(max(0.0, begun_s + due_s - time.perf_counter()))
            late.append(time.perf_counter() - begun_s - due_s)
            fields = {"id": str(number), "text": texts[number % len(texts)], "source": "live", "reply_to": reply_to}
            sender.xadd(inbox, fields)
        reader.join()
    if len(answered) != len(due):
        sys.exit(f"{len(answered)} replies to {len(due)} entries: the measurement is worth nothing")
    return _Run(due, [answered[number] - begun_s for number in range(len(due))], late)


def _receive(client: Any, stream: str, expected: int, answered: dict[int, float]) -> None:
    last, until = "0", time.perf_counter() + LIMIT_S
    while len(answered) < expected and time.perf_counter() < until:
        for _, entries in _pairs(client.xread({stream: last}, count=1000, block=1000)):
            now_s = time.perf_counter()
            for entry_id, fields in entries:
                last = entry_id
                answered.setdefault(int(fields[b"id"]), now_s)


def _pairs(answer: Any) -> Any:
    """(stream, entries) of an XREAD; redis-py gives a dict of nested lists when it speaks RESP3."""
    if isinstance(answer, dict):
        return [(key, list(itertools.chain.from_iterable(value))) for key, value in answer.items()]
    return answer or ()


@contextmanager
def _backfill(settings: Settings, client: Any) -> Iterator[None]:
    """A process that keeps the bulk inbox filled; what is left of it afterwards is taken away."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    producer = context.Process(target=_keep_filled, args=(settings.redis_url, settings.prefix, stop), daemon=True)
    producer.start()
    try:
        yield
    finally:
        stop.set()
        producer.join(10)
        client.xtrim(settings.keys.inbox(Lane.BULK), maxlen=0, approximate=False)


def _keep_filled(url: str, prefix: str, stop: Any) -> None:
    os.nice(10)
    texts = distinct_texts(TEXTS)
    numbers = itertools.count()
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
