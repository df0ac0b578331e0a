"""How long a live entry waits for its answer: alone on an idle machine, and at half of what the worker can take.

    python -m benchmarks.latency [--seconds 12] [--dry]

One worker on embedded servers, as in production; producer, Redis and Postgres share the CPUs with it. Alone: one
entry after the other, each sent when the last is answered. Then a backlog, for two things: what the worker can take,
and how long a full batch of 256 of these texts takes it, from reading to acknowledgement. Then entries arrive at
random at half of that rate (`benchmarks.arrivals`). All texts are distinct.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import redis

from benchmarks.arrivals import WARM_S, open_loop, percentiles
from benchmarks.inbox import worked_off
from benchmarks.machine import keep_result
from benchmarks.stack import counted, free_port, running_worker, scratch_stack
from benchmarks.texts import distinct_texts
from schemas.names import Lane
from schemas.settings import Settings

TEXTS = 20_000
WARM_TEXTS, SINGLE_TEXTS, FULL_BATCHES = 256, 300, 8
ALLOWED_BATCHES = 3.0
_PHASES = "fenliu_phase_seconds_sum"
_ANSWER_MS = 30_000


def main(arguments: Sequence[str] = ()) -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=12.0, help="at half load, after a warm-up")
    parser.add_argument("--dry", action="store_true", help="print the result instead of writing it")
    options = parser.parse_args(arguments)
    texts = itertools.cycle(distinct_texts(TEXTS))
    with scratch_stack() as stack:
        settings = stack.model_copy(update={"metrics_port": free_port()})
        with running_worker(settings) as worker:
            result = measure(settings, worker, texts, options.seconds)
    keep_result("latency", result, dry=options.dry)


def measure(
    settings: Settings, worker: subprocess.Popen[bytes], texts: Iterator[str], seconds: float
) -> dict[str, Any]:
    """All three parts. `texts`: without end."""
    with redis.Redis.from_url(settings.redis_url) as client:
        worked_off(settings, client, worker, list(itertools.islice(texts, WARM_TEXTS)), "warm")
        single = percentiles(_one_by_one(settings, client, list(itertools.islice(texts, SINGLE_TEXTS))))
        before = counted(settings)
        backlog = list(itertools.islice(texts, FULL_BATCHES * settings.batch_entries))
        capacity_per_s = len(backlog) / worked_off(settings, client, worker, backlog, "backlog")
        full_batch_ms = _since(settings, before, _PHASES) / FULL_BATCHES * 1000
    rate = capacity_per_s / 2
    print(f"one by one {single}; {capacity_per_s:.1f} texts/s; a full batch {full_batch_ms:.0f} ms", flush=True)  # noqa: T201
    before = counted(settings)
    half = percentiles(open_loop(settings, texts, rate, seconds, seed=1).latencies(WARM_S))
    batches = _since(settings, before, "fenliu_batch_entries_count")
    typical_ms = _since(settings, before, _PHASES) / batches * 1000
    return {
        "model": settings.model,
        "slots": settings.slots_at_once,
        "single": single,
        "capacity_texts_per_s": capacity_per_s,
        "full_batch_entries": settings.batch_entries,
        "full_batch_ms": full_batch_ms,
        "half_load": half,
        "half_load_per_s": rate,
        "typical_batch_entries": _since(settings, before, "fenliu_batch_entries_sum") / batches,
        "typical_batch_ms": typical_ms,
        "p99_in_full_batches": half["p99_ms"] / full_batch_ms,
        "p99_in_typical_batches": half["p99_ms"] / typical_ms,
        "allowed_batches": ALLOWED_BATCHES,
    }


def _one_by_one(settings: Settings, client: Any, texts: Sequence[str]) -> list[float]:
    """Seconds from XADD to reply of each text, the worker idle whenever one is sent."""
    inbox, reply_to = settings.keys.inbox(Lane.LIVE), f"{settings.keys.reply_prefix}latency"
    took_s = []
    last: Any = "0"
    for number, text in enumerate(texts):
        begun_s = time.perf_counter()
        client.xadd(inbox, {"id": str(number), "text": text, "source": "single", "reply_to": reply_to})
        answer = client.execute_command("XREAD", "BLOCK", _ANSWER_MS, "STREAMS", reply_to, last)
        took_s.append(time.perf_counter() - begun_s)
        if not answer:
            sys.exit(f"no reply within {_ANSWER_MS / 1000:.0f} s: the measurement is worth nothing")
        found = next(iter(answer.values())) if isinstance(answer, dict) else answer[0][1]
        entries = found[0] if len(found) == 1 and isinstance(found[0][0], list) else found
        last = entries[-1][0]
    return took_s


def _since(settings: Settings, before: dict[str, float], series: str) -> float:
    return counted(settings).get(series, 0.0) - before.get(series, 0.0)


if __name__ == "__main__":
    main(sys.argv[1:])
