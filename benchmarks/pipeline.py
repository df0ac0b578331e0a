"""From XADD to committed row, against the same session alone on the same texts, in one run, in turn.

    python -m benchmarks.pipeline [--texts 6000] [--rounds 3]

Both sides run the model in production with as many threads as there are CPUs. The session alone gets all texts at
once, already in memory, in its best setting: sorted by length, in runs of `run_tokens`, tokenization included. The
pipeline gets them through Redis and writes them to Postgres, on embedded servers in a folder of their own. Texts are
distinct and nothing is remembered. Both also by processor time, which other work on the machine disturbs less. Also
measured: the worker's peak resident memory and how soon it is ready.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import redis
from sqlalchemy import text as sql

from benchmarks.machine import write_result
from benchmarks.session import seconds_alone
from benchmarks.stack import running_worker, scratch_stack, until
from benchmarks.texts import distinct_texts
from producers.client import Client
from schemas.database import make_engine
from schemas.names import Lane
from schemas.settings import Settings, cpu_quota
from worker.inference.classifier import Classifier
from worker.inference.folder import find, model_homes


def main(arguments: Sequence[str] = ()) -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=6_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    texts = distinct_texts(options.texts)
    with scratch_stack() as settings:
        write_result("pipeline", _rounds(settings, texts, options.rounds))


def _rounds(settings: Settings, texts: Sequence[str], rounds: int) -> dict[str, Any]:
    slots = settings.slots or cpu_quota()
    classifier = Classifier.load(
        find(settings.model, model_homes(settings.models_home)), run_tokens=settings.run_tokens
    )
    seconds_alone(classifier, texts[:200], slots)  # warm
    measured: list[dict[str, float]] = []
    for number in range(rounds):
        processor_before_s = time.process_time()
        alone_s = seconds_alone(classifier, texts, slots)
        alone_processor_s = time.process_time() - processor_before_s
        through = _through_the_pipeline(settings, texts, number)
        alone_rate, pipeline_rate = len(texts) / alone_s, len(texts) / through["seconds"]
        measured.append(
            through
            | {
                "session_alone_texts_per_s": alone_rate,
                "pipeline_texts_per_s": pipeline_rate,
                "share": pipeline_rate / alone_rate,
                "session_alone_processor_s": alone_processor_s,
                "processor_share": alone_processor_s / through["worker_processor_s"],
            }
        )
        print(f"round {number + 1}: alone {alone_rate:.1f}, pipeline {pipeline_rate:.1f} texts/s")  # noqa: T201
    return {
        "model": classifier.manifest.id,
        "texts": len(texts),
        "slots": slots,
        "run_tokens": settings.run_tokens,
        "batch_entries": settings.batch_entries,
        "share_median": statistics.median(row["share"] for row in measured),
        "processor_share_median": statistics.median(row["processor_share"] for row in measured),
        "rounds": measured,
    }


def _through_the_pipeline(settings: Settings, texts: Sequence[str], number: int) -> dict[str, float]:
    """One round with a worker process of its own, from the first XADD to the last committed row."""
    engine = make_engine(settings)
    begun = time.perf_counter()
    with running_worker(settings) as worker, redis.Redis.from_url(settings.redis_url) as client:
        ready_s = time.perf_counter() - begun
        processor_before_s = sum(psutil.Process(worker.pid).cpu_times()[:2])
        seconds = worked_off(settings, client, worker, texts, f"round-{number}")
        processor_s = sum(psutil.Process(worker.pid).cpu_times()[:2]) - processor_before_s
        statement = sql("SELECT count(*) FROM predictions WHERE source = :source AND current")
        with engine.connect() as connection:
            rows = connection.execute(statement, {"source": f"round-{number}"}).scalar_one()
        engine.dispose()
        if rows != len(texts):
            sys.exit(f"{rows} rows for {len(texts)} texts: the measurement is worth nothing")
        return {
            "seconds": seconds,
            "worker_processor_s": processor_s,
            "ready_s": ready_s,
            "peak_rss_mib": _peak_rss_mib(worker.pid),
        }


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
    streams = list(settings.keys.inboxes.values())
    with Client.from_settings(settings) as sender:
        started = time.perf_counter()
        sender.enqueue_many(({"id": str(n), "text": text, "source": source} for n, text in enumerate(texts)), lane=lane)
        until(lambda: not any(client.xlen(key) for key in streams), worker)
        return time.perf_counter() - started


def _peak_rss_mib(pid: int) -> float:
    """The largest resident memory so far; where the system does not keep it, the present one."""
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) / 1024
    return float(psutil.Process(pid).memory_info().rss) / 2**20


if __name__ == "__main__":
    main(sys.argv[1:])
