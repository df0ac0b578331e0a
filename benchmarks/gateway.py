"""What the way over HTTP costs: one caller on an idle machine, and 200 at once.

    python -m benchmarks.gateway [--seconds 8] [--rounds 2] [--dry]

`fenliu serve` and one worker process on embedded servers. Idle: each text first by the model alone in this process,
then over HTTP, one after the other, so that both see the same machine. Busy: 200 callers of one text each on
connections of their own, made by a third process, in turn with the pipeline, which gets distinct texts by
`enqueue_many` and writes its rows; callers, gateway, worker and servers share the CPUs.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import psutil
import redis

from benchmarks.callers import TEXTS, answered, requests
from benchmarks.inbox import worked_off
from benchmarks.machine import write_result
from benchmarks.stack import running, running_worker, scratch_stack, until
from benchmarks.texts import distinct_texts
from schemas.settings import Settings
from worker.inference.classifier import Classifier, Job
from worker.inference.folder import find, model_homes

IDLE_TEXTS = 300
IDLE_WARM_TEXTS = 50
CALLERS = 200
PIPELINE_TEXTS = 4_000
ALLOWED_MORE_MS = 15.0
ALLOWED_SHARE = 0.8


def main(arguments: Sequence[str] = ()) -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each round of 200 callers, after its warm-up")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--dry", action="store_true", help="print the result instead of writing it")
    options = parser.parse_args(arguments)
    with scratch_stack() as settings:
        port = _free_port()
        with running_worker(settings) as worker, running(settings, "serve", "--port", str(port)) as gateway:
            until(lambda: _listens(port), gateway)
            result = {
                "model": settings.model,
                "slots": settings.slots_at_once,
                "idle": _idle(settings, port),
                "busy": _busy(settings, worker, gateway, port, seconds=options.seconds, rounds=options.rounds),
            }
    if options.dry:
        print(json.dumps(result, indent=1))  # noqa: T201 - a command's output
    else:
        write_result("gateway", result)


def _idle(settings: Settings, port: int) -> dict[str, Any]:
    """Milliseconds of the model alone and over HTTP, of each text in turn."""
    classifier = Classifier.load(
        find(settings.model, model_homes(settings.models_home)), run_tokens=settings.run_tokens
    )
    texts = random.Random(7).sample(distinct_texts(TEXTS), IDLE_WARM_TEXTS + IDLE_TEXTS)  # noqa: S311 - no secret
    model_ms, http_ms = [], []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for text, request in zip(texts, requests(texts), strict=True):
            begun_s = time.perf_counter()
            classifier.classify([Job(text, True, None)])
            model_ms.append((time.perf_counter() - begun_s) * 1000)
            begun_s = time.perf_counter()
            connection.sendall(request)
            got = b""
            while (status := answered(got)) is None:
                got += connection.recv(65_536)
            http_ms.append((time.perf_counter() - begun_s) * 1000)
            if status != b"200":
                sys.exit(f"answered with {got!r}: the measurement is worth nothing")
    del model_ms[:IDLE_WARM_TEXTS], http_ms[:IDLE_WARM_TEXTS]
    more_ms = statistics.median(http_ms) - statistics.median(model_ms)
    print(f"idle: {more_ms:.2f} ms over the model's median", flush=True)  # noqa: T201 - progress
    return {
        "texts": len(http_ms),
        "model_ms": _percentiles(model_ms),
        "http_ms": _percentiles(http_ms),
        "more_ms": more_ms,
        "allowed_more_ms": ALLOWED_MORE_MS,
    }


def _busy(
    settings: Settings,
    worker: subprocess.Popen[bytes],
    gateway: subprocess.Popen[bytes],
    port: int,
    *,
    seconds: float,
    rounds: int,
) -> dict[str, Any]:
    """Texts per second over HTTP and through the pipeline, in turn."""
    texts = distinct_texts(PIPELINE_TEXTS)
    measured = []
    with redis.Redis.from_url(settings.redis_url) as client:
        worked_off(settings, client, worker, texts[:500], "warm")
        for number in range(rounds):
            pipeline_per_s = len(texts) / worked_off(settings, client, worker, texts, f"round-{number}")
            before_s = _processor_s(worker), _processor_s(gateway)
            done = subprocess.run(  # noqa: S603 - ours
                [sys.executable, "-m", "benchmarks.callers", str(port), str(CALLERS), str(seconds)],
                stdout=subprocess.PIPE,
                check=True,
            )
            answers = json.loads(done.stdout)
            after_s = _processor_s(worker), _processor_s(gateway)
            if answers["failed"]:
                sys.exit(f"{answers['failed']} requests failed: the measurement is worth nothing")
            http_per_s = len(answers["took_s"]) / seconds
            measured.append(
                {
                    "pipeline_texts_per_s": pipeline_per_s,
                    "http_texts_per_s": http_per_s,
                    "share": http_per_s / pipeline_per_s,
                    "http_ms": _percentiles([took_s * 1000 for took_s in answers["took_s"]]),
                    "worker_processor_s": after_s[0] - before_s[0],
                    "gateway_processor_s": after_s[1] - before_s[1],
                    "callers_processor_s": answers["processor_s"],
                }
            )
            print(  # noqa: T201 - progress
                f"round {number + 1}: {http_per_s:.1f} texts/s over HTTP, pipeline {pipeline_per_s:.1f}", flush=True
            )
    return {
        "callers": CALLERS,
        "seconds": seconds,
        "share_median": statistics.median(row["share"] for row in measured),
        "allowed_share": ALLOWED_SHARE,
        "rounds": measured,
    }


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=100)
    return {"p50": cuts[49], "p95": cuts[94], "p99": cuts[98]}


def _processor_s(process: subprocess.Popen[bytes]) -> float:
    return float(sum(psutil.Process(process.pid).cpu_times()[:2]))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main(sys.argv[1:])
