"""What Fenliu's own Python costs per item, stage by stage, on a Redis and a Postgres of its own.

    python -m benchmarks.overhead [--entries 6144] [--rounds 5]

Processor time of this process, which is what Fenliu takes from the model on the same cores; that of Redis and Postgres
stands apart. The model is left out: tokens and results are made beforehand and handed over when they are asked for.
Every text is distinct, so that the memory of texts is never right: what it costs is in it.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Final, cast

import numpy as np
import psutil
from sqlalchemy import Engine

from benchmarks.machine import write_result
from benchmarks.processor import backend_pid, redis_processor_s
from benchmarks.stack import scratch_stack
from benchmarks.texts import sample_texts
from producers.client import Client
from schemas.database import make_engine
from schemas.labels import Label, LabelSet
from schemas.messages import decode
from schemas.names import Kind, Lane, Stage, Task
from schemas.settings import Settings
from worker.garbage import settle_down
from worker.held import Held
from worker.inbox import Inbox, connect
from worker.inference.classifier import Classifier, Job, PreparedLabels, Result, Scores
from worker.inference.scores import ranked
from worker.inference.tokenizer import IdArray
from worker.metrics import Metrics
from worker.pace import by_size
from worker.pipeline import Pipeline
from worker.reply import replies_for
from worker.router import RouteSetVersion
from worker.shelf import Shelf
from worker.sink import Sink

TARGET_US: Final = 40.0
"""For a new comment in a full batch, over STAGES_OF_TARGET."""
STAGES: Final = ("collector", "codec", "pipeline", "sink", "settle")
STAGES_OF_TARGET: Final = STAGES[:4]
SHARES: Final = {256: 1.0, 16: 0.25, 1: 0.05}
"""By entries in a batch, the share of the entries to measure with: small batches take longer."""

_TEAMS = LabelSet(tuple(Label(name) for name in ("billing", "delivery", "returns", "account", "technical", "sales")))
_VARIANTS = 97


class Answered:
    """A model that knows tokens and results beforehand, and takes no time to say so."""

    def __init__(self) -> None:
        rng = random.Random("answered")  # noqa: S311 - made-up data
        self.manifest = SimpleNamespace(id="answered/1", name="answered", version="1", tasks=tuple(Task))
        self._ids = [np.zeros(length, dtype=np.int32) for length in range(1, _VARIANTS)]
        self._sentiments = [_scores(("positive", "negative"), Stage.CLASSIFIER, rng) for _ in range(_VARIANTS)]
        self._routings = [_scores(_TEAMS.names, Stage.ENCODER, rng) for _ in range(_VARIANTS)]

    def encode(self, texts: Sequence[str]) -> list[IdArray]:
        """Ids of some length."""
        return [self._ids[len(text) % len(self._ids)] for text in texts]

    def prepare(self, labels: LabelSet, template: str | None = None) -> PreparedLabels:  # noqa: ARG002 - as Classifier
        """The label set itself."""
        return PreparedLabels(labels)

    def classify(self, jobs: Sequence[Job], on_progress: object = None) -> list[Result]:  # noqa: ARG002
        """Results of some kind."""
        return [
            Result(
                self._sentiments[number % _VARIANTS] if job.sentiment else None,
                self._routings[number % _VARIANTS] if job.labels is not None else None,
                30,
                1,
            )
            for number, job in enumerate(jobs)
        ]


class Teams:
    """One route set, whatever its name."""

    def resolve(self, name: str) -> RouteSetVersion:
        """The same version ever again."""
        return RouteSetVersion(name, 1, _TEAMS)


class Meter:
    """Processor time of this process by stage, in seconds."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """What runs inside counts for this stage."""
        begun_s = time.process_time()
        yield
        self.seconds[name] += time.process_time() - begun_s


def main(arguments: Sequence[str] = ()) -> None:
    """Measure every case and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=6_144)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dry", action="store_true", help="write no file")
    options = parser.parse_args(arguments)
    with scratch_stack() as settings:
        remembering = Settings.model_fields["memory_texts"].default
        rounds = measure(settings.model_copy(update={"memory_texts": remembering}), options.entries, options.rounds)
    cases = {name: medians([each[name] for each in rounds]) for name in rounds[0]}
    for name, case in cases.items():
        print(f"{name:18} {case}")  # noqa: T201 - a command's output
    if not options.dry:
        write_result(
            "overhead",
            {"target_us": TARGET_US, "entries": options.entries, "us_per_item": cases, "rounds": rounds},
        )


def measure(settings: Settings, entries: int, rounds: int) -> list[dict[str, dict[str, float]]]:
    """Microseconds per item: for each round, by case, by stage. The first round of all warms up and is left out."""
    engine = make_engine(settings)
    settle_down()  # as a worker does
    measured = []
    for number in range(rounds + 1):
        of_round = {}
        for kind in Kind:
            for size, share in SHARES.items():
                most = max(size, int(entries * share * (1 if number else 0.2)))
                source = f"overhead-{kind.value}-{size}-{number}"
                of_round[f"{kind.value}, {size} at once"] = Line(settings, engine).work_off(source, kind, size, most)
        measured.append(of_round)
    engine.dispose()
    return measured[1:]


def medians(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    """Of each figure."""
    return {name: round(statistics.median(each[name] for each in rounds), 1) for name in rounds[0]}


class Line:
    """What an entry goes through in a worker, without its threads; each part timed."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings = settings
        self._engine = engine
        self._client: Any = connect(settings)
        self._inbox = Inbox(self._client, settings.keys, "overhead")
        self._inbox.ensure_groups()
        self._held, self._metrics = Held(), Metrics()
        self._pipeline = Pipeline(Shelf(cast(Classifier, Answered()), [], settings.run_tokens), Teams(), settings)
        self._sink = Sink(engine, self._metrics.rows)
        self._meter = Meter()

    def work_off(self, source: str, kind: Kind, size: int, entries: int) -> dict[str, float]:
        """Microseconds per item, by stage, for so many new entries in batches of `size`."""
        _enqueue(self._settings, source, kind, entries)
        server = psutil.Process(backend_pid(self._engine))
        server_s, redis_s, begun_s = sum(server.cpu_times()[:2]), redis_processor_s(self._client), time.perf_counter()
        done = 0
        while done < entries:
            done += self._batch(size)
        seconds = self._meter.seconds
        taken_s = {
            **seconds,
            "of_target": sum(seconds[name] for name in STAGES_OF_TARGET),
            "wall": time.perf_counter() - begun_s,
            "redis": redis_processor_s(self._client) - redis_s,
            "postgres": sum(server.cpu_times()[:2]) - server_s,
        }
        self._client.close()
        return {name: 1e6 * taken / entries for name, taken in taken_s.items()}

    def _batch(self, size: int) -> int:
        meter, settings = self._meter, self._settings
        with meter.stage("collector"):
            batch = self._inbox.read(Lane.LIVE, size)
            self._held.add(batch)
            self._metrics.batch(batch)
        codec_before_s = meter.seconds["codec"]
        with meter.stage("codec"):
            for raw in batch:
                decode(raw, settings.keys)
        with meter.stage("pipeline"):
            drafts = by_size(self._pipeline.read(batch))
            outcomes = self._pipeline.classify(drafts, datetime.now(UTC))
        meter.seconds["pipeline"] -= meter.seconds["codec"] - codec_before_s  # `read` decodes as well
        with meter.stage("sink"):
            statuses = self._sink.write(outcomes, datetime.now(UTC))
        with meter.stage("settle"):
            replies = replies_for([draft.raw for draft in drafts], outcomes, statuses, settings.keys)
            self._inbox.settle(batch, list(replies), settings)
            self._held.remove(batch)
        return len(batch)


def _enqueue(settings: Settings, source: str, kind: Kind, entries: int) -> None:
    """Distinct texts of the sample's lengths: what ends them is a number."""
    texts = sample_texts()
    items = (
        {"id": str(n), "source": source, "kind": kind.value, "text": f"{texts[n % len(texts)]} {source} {n}"}
        for n in range(entries)
    )
    with Client.from_settings(settings) as sender:
        sender.enqueue_many(items)


def _scores(names: Sequence[str], stage: Stage, rng: random.Random) -> Scores:
    values = np.array([rng.random() for _ in names])
    return ranked(names, values / values.sum(), stage)


if __name__ == "__main__":
    main(sys.argv[1:])
