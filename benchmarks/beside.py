"""The pipeline on one CPU, the session alone on another, at the same time, changing places after every slice.

What else the machine does disturbs both, and so their ratio is told several times as finely as by turns. The worker,
with one slot, its Redis, its Postgres and the sender share one CPU; the session has one thread on the other. In every
other pair of slices the session takes the texts in batches of as many as a worker takes, in the order they came,
instead of sorting them all: what that costs has nothing to do with Redis, Postgres or Python.

For models that fit the caches: the two have their weights twice, where the slots of one worker share them.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import psutil
import redis

from benchmarks.alone import serving
from benchmarks.processor import postmaster_of
from benchmarks.stack import running_worker
from schemas.settings import Settings
from worker.inference.classifier import Classifier, Job

MODES: Final = ("sorted", "batches")
LEAST_SLICES: Final = 2 * len(MODES)
_FILLER_TEXTS: Final = 32


def possible() -> bool:
    """Whether there are two CPUs that processes can be bound to."""
    return hasattr(os, "sched_setaffinity") and len(os.sched_getaffinity(0)) > 1


@contextmanager
def bound(pids: Sequence[int], cpus: set[int]) -> Iterator[None]:
    """While all threads of these processes, their children's too, run on `cpus`; afterwards where we may."""
    usual = os.sched_getaffinity(0)
    _bind(pids, cpus)
    try:
        yield
    finally:
        _bind(pids, usual)


def shares(
    settings: Settings,
    warm: Sequence[str],
    slices: Sequence[Sequence[str]],
    worked_off: Callable[[Settings, redis.Redis, subprocess.Popen[bytes], Sequence[str], str], float],
) -> dict[str, Any]:
    """The share of each slice, by how the session took it, and the mean of each with its standard error.

    `settings`: of servers that run already. `worked_off`: seconds that a worker takes for some texts of a source.
    """
    own = settings.model_copy(update={"slots": 1})
    first, second = sorted(os.sched_getaffinity(0))[:2]
    rows: list[dict[str, Any]] = []
    with (
        running_worker(own) as worker,
        redis.Redis.from_url(settings.redis_url) as client,
        serving(_serve, settings, settings) as session,
    ):
        worked_off(own, client, worker, warm, "warm-beside")
        about_redis: Any = client.info("server")  # redis-py types every answer as sync-or-async
        pipeline = [os.getpid(), worker.pid, postmaster_of(own).pid, about_redis["process_id"]]
        for number, texts in enumerate(slices):
            cpus = (first, second) if number % 2 else (second, first)
            mode = MODES[number // 2 % 2]
            with bound(pipeline, {cpus[0]}):
                session.send((list(texts), mode, cpus[1]))
                pipeline_s = worked_off(own, client, worker, texts, f"beside-{number}")
                session_s = session.recv()
            rows.append({"mode": mode, "session_s": session_s, "pipeline_s": pipeline_s})
            print(f"beside, {mode}: {session_s / pipeline_s:.3f}", flush=True)  # noqa: T201 - progress
    return {"texts": len(slices[0]), **{mode: _summary(rows, mode) for mode in MODES}, "slices": rows}


def _summary(rows: Sequence[dict[str, Any]], mode: str) -> dict[str, float]:
    found = [row["session_s"] / row["pipeline_s"] for row in rows if row["mode"] == mode]
    return {"mean": statistics.mean(found), "standard_error": statistics.stdev(found) / len(found) ** 0.5}


def _bind(pids: Sequence[int], cpus: set[int]) -> None:
    for pid in pids:
        process = psutil.Process(pid)
        for each in [process, *process.children(recursive=True)] if pid != os.getpid() else [process]:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended just now
                for thread in Path(f"/proc/{each.pid}/task").iterdir():
                    os.sched_setaffinity(int(thread.name), cpus)


def _serve(connection: Connection, folder: Path, settings: Settings) -> None:
    """Answer with seconds; then go on with the same texts until there are others, so that no CPU comes to rest while
    the other side still works."""
    classifier = Classifier.load(folder, run_tokens=settings.run_tokens)
    connection.send(True)
    try:
        while True:
            texts, mode, cpu = connection.recv()
            os.sched_setaffinity(0, {cpu})
            jobs = [Job(text, True, None) for text in texts]
            at_once = len(jobs) if mode == "sorted" else settings.batch_entries
            begun_s = time.perf_counter()
            for start in range(0, len(jobs), at_once):
                classifier.classify(jobs[start : start + at_once])
            connection.send(time.perf_counter() - begun_s)
            while not connection.poll():
                classifier.classify(jobs[:_FILLER_TEXTS])
    except EOFError:
        return
