"""How long the sink takes per item, in batches of 256, one process, against a scratch database of the running server.

    python -m benchmarks.sink [OUT.json]

Takes the database server from FENLIU_DATABASE_URL or the running embedded stack; makes a database of its own there
and drops it afterwards. The model is left out: outcomes are made up, texts are of mixed length.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import make_url, text

from schemas.messages import Entry
from schemas.names import AssignmentStatus, Kind, Lane, Stage, Task
from schemas.settings import Settings, load_settings
from schemas.stack import connected
from worker.database import make_engine
from worker.migrate import migrate
from worker.outcome import Assignment, Done, Outcome, Prediction
from worker.sink import Sink

BATCH_ENTRIES = 256
BATCHES = 60
WARM_UP_BATCHES = 5
TEAMS = ("billing", "delivery", "returns", "account", "quality", "technical", "sales", "abuse")
PHRASES = (
    "物流太慢了，等了整整两个星期",
    "质量很好，下次还会再来",
    "客服态度差，问了三次都没有人理我",
    "包装破了，里面的杯子也碎了一个",
    "性价比高，推荐给朋友了",
    "the parcel never arrived and nobody answers",
)


def main(arguments: Sequence[str]) -> None:
    """Measure every case and write or print the results."""
    with scratch(connected(load_settings())) as settings:
        result = {"unit": "microseconds per item", "batch_entries": BATCH_ENTRIES, "batches": BATCHES}
        result |= {"cases": measure(settings)}
    shown = json.dumps(result, indent=2)
    if arguments:
        Path(arguments[0]).write_text(shown + "\n", encoding="utf-8")
    print(shown)  # noqa: T201


@contextmanager
def scratch(settings: Settings) -> Iterator[Settings]:
    """Settings on a migrated database that is gone afterwards."""
    name = f"fenliu_bench_{uuid.uuid4().hex[:8]}"
    admin = make_engine(settings, statement_timeout_s=0).execution_options(isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    url = make_url(settings.database_url).set(database=name).render_as_string(hide_password=False)
    try:
        own = settings.model_copy(update={"database_url": url})
        migrate(own)
        yield own
    finally:
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        admin.dispose()


def measure(settings: Settings) -> dict[str, dict[str, float]]:
    """Median and 95th percentile over batches, for items that are new, come again unchanged, or are newer."""
    engine = make_engine(settings)
    sink = Sink(engine)
    cases = {}
    for kind in Kind:
        first = [batch(kind, number, entry_ms=1_800_000_000_000) for number in range(BATCHES)]
        newer = [batch(kind, number, entry_ms=1_800_000_100_000) for number in range(BATCHES)]
        for case, batches in {"new": first, "again": first, "newer": newer}.items():
            times_us = []
            for outcomes in batches:
                now = datetime.now(UTC)
                started = time.perf_counter()
                sink.write(outcomes, now)
                times_us.append((time.perf_counter() - started) * 1e6 / BATCH_ENTRIES)
            measured = sorted(times_us[WARM_UP_BATCHES:])
            cases[f"{kind.value}, {case}"] = {
                "median": round(statistics.median(measured), 1),
                "p95": round(measured[int(len(measured) * 0.95)], 1),
            }
    engine.dispose()
    return cases


def batch(kind: Kind, number: int, entry_ms: int) -> list[Outcome]:
    """Outcomes of one batch; the same for the same arguments."""
    rng = random.Random(f"{kind} {number} {entry_ms}")  # noqa: S311 - made-up data
    return [outcome(kind, f"{number}-{i}", f"{entry_ms + number}-{i}", rng) for i in range(BATCH_ENTRIES)]


def outcome(kind: Kind, item_id: str, entry_id: str, rng: random.Random) -> Done:
    """One outcome: a comment with its sentiment, or a ticket with its team too."""
    now = datetime.now(UTC)
    body = "。".join(rng.choices(PHRASES, k=rng.randint(1, 8)))
    entry = Entry(Lane.LIVE, entry_id, item_id, body, f"bench-{kind.value}", kind, created_at=now, updated_at=now)
    score = rng.uniform(0.5, 1)
    predictions = [prediction(Task.SENTIMENT, {"positive": score, "negative": 1 - score})]
    if kind is Kind.COMMENT:
        return Done(entry, tuple(predictions))
    weights = [rng.random() for _ in TEAMS]
    scores = {team: weight / sum(weights) for team, weight in zip(TEAMS, weights, strict=True)}
    predictions.append(prediction(Task.ROUTING, scores))
    team = predictions[1].label
    return Done(entry, tuple(predictions), Assignment(team, AssignmentStatus.AUTO, scores[team]))


def prediction(task: Task, scores: dict[str, float]) -> Prediction:
    """A result in production."""
    label = max(scores, key=lambda name: scores[name])
    version = 1 if task is Task.ROUTING else None
    return Prediction(
        task, "bench", "1", label, scores[label], scores, Stage.ENCODER, True, 3.0, 1.0, route_set_version=version
    )


if __name__ == "__main__":
    main(sys.argv[1:])
