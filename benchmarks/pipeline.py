"""From XADD to committed row, against the session alone on the same texts, by turns of half a second.

    python -m benchmarks.pipeline [--slices 6] [--texts 2560] [--shape base] [--dry]

Both sides run the same model with as many threads as there are CPUs, and have all CPUs while it is their turn: see
`benchmarks.alternating`. The session alone is a process that gets a slice's texts at once, already in memory, in its
best setting, tokenization included. The pipeline gets them through Redis and writes them to Postgres, on embedded
servers in a folder of their own, by one worker that runs all along; sending them is part of its time. All texts are
distinct. Every batch's worth of them has the same lengths.

In every third slice the session takes the texts in batches of as many as a worker takes, in the order they come,
instead of sorting them all: what that costs has nothing to do with Redis, Postgres or Python.

With --shape the model has random weights of that shape, in INT8, and the result goes beside the other.

Before the slices, the demo's items go through the worker: they warm it up, and show how much of what it runs is
padding. Also measured: the worker's peak resident memory and how soon it is ready.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import redis

from benchmarks.alone import best_setting, session_alone
from benchmarks.demo_items import demo_run
from benchmarks.inbox import worked_off
from benchmarks.machine import keep_result
from benchmarks.processor import WHOSE, Processors, postmaster_of
from benchmarks.random_model import write_random_model
from benchmarks.sides import EVERY, MODES, Sides
from benchmarks.stack import free_port, running_worker, scratch_stack
from benchmarks.texts import distinct_texts, sample_texts
from schemas.settings import Settings, cpu_quota

WARM_TEXTS = 256


def main(arguments: Sequence[str] = ()) -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=6, help=f"every {EVERY}rd against the session in batches")
    parser.add_argument("--texts", type=int, default=2_560, help="in each slice")
    parser.add_argument("--shape", help="a model with random weights of this shape instead of the shipped one")
    parser.add_argument("--dry", action="store_true", help="print the result instead of writing it")
    options = parser.parse_args(arguments)
    if options.slices < 2 * EVERY:
        parser.error(f"--slices must be at least {2 * EVERY}: two of each kind")
    seen = len(sample_texts())  # none of the demo's texts, which the worker has seen by then
    texts = distinct_texts(seen + WARM_TEXTS + options.slices * options.texts)[seen:]
    with scratch_stack() as stack:
        settings = stack.model_copy(update={"metrics_port": free_port()})
        if options.shape:
            settings = settings.model_copy(update={"model": write_random_model(settings, options.shape)})
        alike = dealt(texts[WARM_TEXTS:], settings.batch_entries)
        result = measure(settings, texts[:WARM_TEXTS], alike, options.slices, demo=not options.shape)
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
    """So many slices of `texts`, each through both by turns."""
    setting = best_setting(settings)
    size = len(texts) // slices
    begun_s = time.perf_counter()
    with running_worker(settings) as worker, redis.Redis.from_url(settings.redis_url) as client:
        ready_s = time.perf_counter() - begun_s
        about_demo = {"demo": demo_run(settings, client, worker)} if demo else {}
        worked_off(settings, client, worker, warm, "warm")
        postmaster = postmaster_of(settings)
        processors = Processors(worker.pid, postmaster, client)
        pids = [worker.pid, client.info("server")["process_id"], postmaster.pid]
        pids += [child.pid for child in postmaster.children()]
        with session_alone(settings, setting) as alone:
            alone.classify(warm)
            sides = Sides(settings, client, worker, pids, alone, processors)
            rows = [sides.take(texts[number * size : (number + 1) * size], number) for number in range(slices)]
        peak = _peak_rss_mib(worker.pid)
    return {
        "model": settings.model,
        "texts": size,
        "slots": settings.slots_at_once,
        "batch_entries": settings.batch_entries,
        "run_tokens": settings.run_tokens,
        "session_setting": f"{setting.order}, runs of {setting.run_tokens} tokens, {setting.slots} x {setting.threads}",
        **{mode: _shares([row for row in rows if row["mode"] == mode]) for mode in MODES},
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


def _shares(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Of what the session takes alone: mean and standard error of the slices, and by processor time."""
    found = [row["share"] for row in rows]
    return {
        "share": statistics.mean(found),
        "standard_error": statistics.stdev(found) / len(found) ** 0.5,
        "processor_share": statistics.mean(row["processor_share"] for row in rows),
    }


def _busy_s(row: dict[str, float]) -> float:
    return sum(row[name] for name in WHOSE)


def _peak_rss_mib(pid: int) -> float:
    """The largest resident memory so far; where the system does not keep it, the present one."""
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) / 1024
    return float(psutil.Process(pid).memory_info().rss) / 2**20


if __name__ == "__main__":
    main(sys.argv[1:])
