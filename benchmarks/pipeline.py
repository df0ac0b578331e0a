"""From XADD to committed row, against the session alone on the same texts, in short slices, in turn.

    python -m benchmarks.pipeline [--slices 4] [--beside 8] [--texts 2560] [--shape base] [--dry]

Both sides run the same model with as many threads as there are CPUs, one side at a time: while a slice goes through
one, the other waits. The session alone is a process that gets the slice's texts at once, already in memory, in its
best setting, tokenization included. The pipeline gets them through Redis and writes them to Postgres, on embedded
servers in a folder of their own, by one worker that runs all along. All texts are distinct. Every batch's worth of
them has the same lengths, so that all slots end a slice together: one that has nothing left while others work says
something of short runs, not of long ones. Ratios are those of all slices together, since single ones differ with the
machine, and of each slice, as quartiles; also by processor time, which other work on the machine disturbs less.

Turns tell a share roughly where a machine's speed changes from one to the next. So both also run at the same time, on
one CPU each: `benchmarks.beside`.

With --shape the model has random weights of that shape, in INT8, and the result goes beside the other.

Before the slices, the demo's items go through the worker: they warm it up, and show how much of what it runs is
padding. Also measured: the worker's peak resident memory and how soon it is ready.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import redis
from sqlalchemy import text as sql

from benchmarks.alone import Alone, best_setting, session_alone
from benchmarks.beside import LEAST_SLICES, possible, shares
from benchmarks.demo_items import demo_run
from benchmarks.machine import keep_result, quartiles
from benchmarks.processor import WHOSE, Processors, postmaster_of
from benchmarks.random_model import write_random_model
from benchmarks.stack import free_port, running_worker, scratch_stack, until
from benchmarks.texts import distinct_texts, sample_texts
from producers.client import Client
from schemas.database import make_engine
from schemas.names import Lane
from schemas.settings import Settings, cpu_quota

WARM_TEXTS = 256
SELDOM_ENTRIES = 512
SELDOM_S = 0.2


def main(arguments: Sequence[str] = ()) -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=4)
    parser.add_argument("--texts", type=int, default=2_560, help="in each slice")
    parser.add_argument("--beside", type=int, default=8, help="slices of half as many texts, on one CPU each")
    parser.add_argument("--shape", help="a model with random weights of this shape instead of the shipped one")
    parser.add_argument("--dry", action="store_true", help="print the result instead of writing it")
    options = parser.parse_args(arguments)
    if 0 < options.beside < LEAST_SLICES:
        parser.error(f"--beside must be 0 or at least {LEAST_SLICES}: two slices of each kind")
    # None of the demo's texts, which the worker has seen by then.
    seen, half = len(sample_texts()), options.texts // 2
    in_turn, at_once = options.slices * options.texts, options.beside * half
    texts = distinct_texts(seen + WARM_TEXTS + in_turn + at_once)[seen:]
    with scratch_stack() as stack:
        settings = stack.model_copy(update={"metrics_port": free_port()})
        if options.shape:
            settings = settings.model_copy(update={"model": write_random_model(settings, options.shape)})
        alike = dealt(texts[WARM_TEXTS:], min(settings.batch_entries, half))
        beside = [alike[start : start + half] for start in range(in_turn, in_turn + at_once, half)]
        result = measure(settings, texts[:WARM_TEXTS], alike[:in_turn], options.slices, demo=not options.shape)
        if beside and possible():
            result["beside"] = shares(settings, texts[:WARM_TEXTS], beside, worked_off)
    keep_result(f"pipeline_{options.shape}" if options.shape else "pipeline", result, dry=options.dry)


def dealt(texts: Sequence[str], batch_entries: int) -> list[str]:
    """The texts in another order: every `batch_entries` in a row have the same mix of lengths, at random places."""
    ordered = sorted(texts, key=len)
    batches = max(1, len(texts) // batch_entries)
    chance = random.Random(3)  # noqa: S311 - the same order each time
    mixes = [ordered[number::batches] for number in range(batches)]
    return [text for mix in mixes for text in chance.sample(mix, len(mix))]


def measure(
    settings: Settings, warm: Sequence[str], texts: Sequence[str], slices: int, *, demo: bool
) -> dict[str, Any]:
    """So many slices of `texts`, each through both in turn."""
    setting = best_setting(settings)
    size = len(texts) // slices
    begun_s = time.perf_counter()
    with running_worker(settings) as worker, redis.Redis.from_url(settings.redis_url) as client:
        ready_s = time.perf_counter() - begun_s
        about_demo = {"demo": demo_run(settings, client, worker)} if demo else {}
        worked_off(settings, client, worker, warm, "warm")
        processors = Processors(worker.pid, postmaster_of(settings), client)
        with session_alone(settings, setting) as alone:
            alone.classify(warm)
            sides = _Sides(settings, client, worker, alone, processors)
            rows = [sides.take(texts[number * size : (number + 1) * size], number) for number in range(slices)]
        peak = _peak_rss_mib(worker.pid)
    return {
        "model": settings.model,
        "texts": size,
        "slots": settings.slots_at_once,
        "batch_entries": settings.batch_entries,
        "run_tokens": settings.run_tokens,
        "session_setting": f"{setting.order}, runs of {setting.run_tokens} tokens, {setting.slots} x {setting.threads}",
        "share_of_all": _of_all(rows, "session_s", "pipeline_s"),
        "processor_share_of_all": _of_all(rows, "session_processor_s", "worker_s"),
        "share": quartiles([row["share"] for row in rows]),
        "processor_share": quartiles([row["processor_share"] for row in rows]),
        "pipeline_texts_per_s": len(texts) / sum(row["pipeline_s"] for row in rows),
        "session_alone_texts_per_s": len(texts) / sum(row["session_s"] for row in rows),
        "processor_us_per_text": {
            name: sum(row[name] for row in rows) / len(texts) * 1e6 for name in ("session_processor_s", *WHOSE)
        },
        "idle_share": 1 - sum(_busy_s(row) for row in rows) / (cpu_quota() * sum(row["pipeline_s"] for row in rows)),
        "ready_s": ready_s,
        "peak_rss_mib": peak,
        "slices": rows,
    } | about_demo


def _of_all(rows: Sequence[dict[str, float]], alone: str, other: str) -> float:
    """What all texts took alone, of what they took otherwise: rounds differ with the machine, their sum less so."""
    return sum(row[alone] for row in rows) / sum(row[other] for row in rows)


def _busy_s(row: dict[str, float]) -> float:
    return sum(row[name] for name in WHOSE)


@dataclass(frozen=True)
class _Sides:
    """The two that are compared."""

    settings: Settings
    client: redis.Redis
    worker: subprocess.Popen[bytes]
    alone: Alone
    processors: Processors

    def take(self, texts: Sequence[str], number: int) -> dict[str, float]:
        """One slice through both, the session first in every other one."""
        first = self._session(texts) if number % 2 == 0 else {}
        row = self._pipeline(texts, f"slice-{number}") | (first or self._session(texts))
        row["share"] = row["session_s"] / row["pipeline_s"]
        row["processor_share"] = row["session_processor_s"] / row["worker_s"]
        print(f"slice {number + 1}: {row['share']:.3f}, by processor time {row['processor_share']:.3f}", flush=True)  # noqa: T201
        return row

    def _session(self, texts: Sequence[str]) -> dict[str, float]:
        took = self.alone.classify(texts)
        return {"session_s": took.seconds, "session_processor_s": took.processor_s}

    def _pipeline(self, texts: Sequence[str], source: str) -> dict[str, float]:
        before_s = self.processors.so_far()
        seconds = worked_off(self.settings, self.client, self.worker, texts, source)
        after_s = self.processors.so_far()
        rows = _rows(self.settings, source)
        if rows != len(texts):
            sys.exit(f"{rows} rows for {len(texts)} texts: the measurement is worth nothing")
        return {"pipeline_s": seconds} | {name: after_s[name] - before_s[name] for name in WHOSE}


def worked_off(
    settings: Settings,
    client: redis.Redis,
    worker: subprocess.Popen[bytes],
    texts: Sequence[str],
    source: str,
    *,
    lane: Lane = Lane.LIVE,
) -> float:
    """Seconds from the first XADD of these texts until the inboxes are empty again, all committed."""
    items = ({"id": str(n), "text": text, "source": source} for n, text in enumerate(texts))
    return items_worked_off(settings, client, worker, items, lane=lane)


def items_worked_off(
    settings: Settings,
    client: redis.Redis,
    worker: subprocess.Popen[bytes],
    items: Iterable[Mapping[str, object]],
    *,
    lane: Lane = Lane.LIVE,
) -> float:
    """As `worked_off`, for items with sources and ids of their own."""
    streams = list(settings.keys.inboxes.values())
    with Client.from_settings(settings) as sender:
        started = time.perf_counter()
        sender.enqueue_many(items, lane=lane)
        # Looking takes the processor from those who are watched: rarely while there is much.
        until(lambda: sum(client.xlen(key) for key in streams) < SELDOM_ENTRIES, worker, SELDOM_S)
        until(lambda: not any(client.xlen(key) for key in streams), worker)
        return time.perf_counter() - started


def _rows(settings: Settings, source: str) -> int:
    engine = make_engine(settings)
    statement = sql("SELECT count(*) FROM predictions WHERE source = :source AND current")
    with engine.connect() as connection:
        rows = int(connection.execute(statement, {"source": source}).scalar_one())
    engine.dispose()
    return rows


def _peak_rss_mib(pid: int) -> float:
    """The largest resident memory so far; where the system does not keep it, the present one."""
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) / 1024
    return float(psutil.Process(pid).memory_info().rss) / 2**20


if __name__ == "__main__":
    main(sys.argv[1:])
