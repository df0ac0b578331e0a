"""The two sides of the pipeline's comparison: a slice of texts through a worker, and through the session alone."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import redis
from sqlalchemy import text as sql

from benchmarks.alone import Alone
from benchmarks.alternating import alternately
from benchmarks.inbox import SELDOM_ENTRIES, SELDOM_S, items, left
from benchmarks.processor import WHOSE, Processors
from producers.client import Client
from schemas.database import make_engine
from schemas.settings import Settings

MODES: Final = ("sorted", "batches")
_LATELY_ENTRIES: Final = 16
_LATELY_S: Final = 0.05
"""Beside `benchmarks.inbox`'s: so seldom until hardly any are left."""

EVERY: Final = 3
"""In one of so many slices the session takes batches, too."""


@dataclass(frozen=True)
class Sides:
    """Both. `pids`: of all that the pipeline consists of, but for the sender, which we are."""

    settings: Settings
    client: redis.Redis
    worker: subprocess.Popen[bytes]
    pids: Sequence[int]
    alone: Alone
    processors: Processors

    def take(self, texts: Sequence[str], number: int) -> dict[str, Any]:
        """One slice through both, the session first in every other one. Ends the program if a row is missing."""
        mode, source = MODES[number % EVERY == EVERY - 1], f"slice-{number}"
        pipeline = _Pipeline(self, texts, source)
        session = _Session(self.alone, texts, self.settings.batch_entries if mode == "batches" else None)
        before_s = self.processors.so_far()
        if number % 2:
            session_s, pipeline_s = alternately(session, pipeline)
        else:
            pipeline_s, session_s = alternately(pipeline, session)
        after_s = self.processors.so_far()
        if _rows(self.settings, source) != len(texts):
            sys.exit(f"{source} has not a row for each of {len(texts)} texts: the measurement is worth nothing")
        used_s = {name: after_s[name] - before_s[name] for name in WHOSE}
        alone_s = self.alone.took().processor_s
        row = {"mode": mode, "session_s": session_s, "pipeline_s": pipeline_s, "session_processor_s": alone_s}
        row |= used_s | {"share": session_s / pipeline_s, "processor_share": alone_s / used_s["worker_s"]}
        print(f"{source}, {mode}: {row['share']:.3f}", flush=True)  # noqa: T201 - progress
        return row


class _Session:
    def __init__(self, alone: Alone, texts: Sequence[str], at_once: int | None) -> None:
        self.pids = [alone.pid]
        self._alone, self._texts, self._at_once = alone, texts, at_once

    def begin(self) -> None:
        self._alone.begin(self._texts, self._at_once)

    def done(self) -> bool:
        return self._alone.done()


class _Pipeline:
    def __init__(self, sides: Sides, texts: Sequence[str], source: str) -> None:
        self.pids = sides.pids
        self._sides, self._texts, self._source = sides, texts, source
        self._look_at_s = 0.0

    def begin(self) -> None:
        with Client.from_settings(self._sides.settings) as sender:
            sender.enqueue_many(items(self._texts, self._source))

    def done(self) -> bool:
        if time.perf_counter() < self._look_at_s:
            return False
        if self._sides.worker.poll() is not None:
            sys.exit("the worker has ended: the measurement is worth nothing")
        waiting = left(self._sides.settings, self._sides.client)
        pause_s = SELDOM_S if waiting >= SELDOM_ENTRIES else _LATELY_S if waiting >= _LATELY_ENTRIES else 0.0
        self._look_at_s = time.perf_counter() + pause_s
        return waiting == 0


def _rows(settings: Settings, source: str) -> int:
    engine = make_engine(settings)
    statement = sql("SELECT count(*) FROM predictions WHERE source = :source AND current")
    with engine.connect() as connection:
        rows = int(connection.execute(statement, {"source": source}).scalar_one())
    engine.dispose()
    return rows
