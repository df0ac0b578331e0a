"""How long the sink takes per item, in batches of 256, one process, on a Postgres of its own.

Run with `python -m benchmarks.sink`. The model is left out: outcomes are made up, texts are of mixed length. Wall
time has the commit in it; processor time is that of this process and of the server's, and says what the sink takes
from the model on the same cores.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import psutil

from benchmarks.machine import write_result
from benchmarks.processor import backend_pid
from benchmarks.stack import scratch_stack
from schemas.database import make_engine
from schemas.messages import Entry
from schemas.names import AssignmentStatus, Kind, Lane, Stage, Task
from schemas.settings import Settings
from worker.outcome import Assignment, Done, Outcome, Prediction
from worker.sink import Sink

BATCH_ENTRIES = 256
BATCHES = 100
TEAMS = ("billing", "delivery", "returns", "account", "quality", "technical", "sales", "abuse")
PHRASES = (
    "物流太慢了，等了整整两个星期",
    "质量很好，下次还会再来",
    "客服态度差，问了三次都没有人理我",
    "包装破了，里面的杯子也碎了一个",
    "性价比高，推荐给朋友了",
    "the parcel never arrived and nobody answers",
)


def main(arguments: Sequence[str] = ()) -> None:  # noqa: ARG001 - as every benchmark
    """Measure every case and write the results."""
    with scratch_stack() as settings:
        cases = measure(settings)
    write_result("sink", {"batch_entries": BATCH_ENTRIES, "batches": BATCHES, "us_per_item": cases})
    for case, measured in cases.items():
        print(f"{case:20} {measured}")  # noqa: T201 - a command's output


def measure(settings: Settings) -> dict[str, dict[str, float]]:
    """Microseconds per item, for items that are new, come again unchanged, or are newer."""
    engine = make_engine(settings)
    sink = Sink(engine)
    server = psutil.Process(backend_pid(engine))
    cases = {}
    for kind in Kind:
        first = [batch(kind, number, entry_ms=1_800_000_000_000) for number in range(BATCHES)]
        newer = [batch(kind, number, entry_ms=1_800_000_100_000) for number in range(BATCHES)]
        for case, batches in {"new": first, "again": first, "newer": newer}.items():
            cases[f"{kind.value}, {case}"] = timed(sink, batches, server)
    engine.dispose()
    return cases


def timed(sink: Sink, batches: Sequence[Sequence[Outcome]], server: psutil.Process) -> dict[str, float]:
    """Wall time (median and 95th percentile over batches) and processor time (mean) of writing them."""
    walls_s = []
    process_before_s, server_before_s = time.process_time(), sum(server.cpu_times()[:2])
    for outcomes in batches:
        started = time.perf_counter()
        sink.write(outcomes, datetime.now(UTC))
        walls_s.append(time.perf_counter() - started)
    process_s, server_s = time.process_time() - process_before_s, sum(server.cpu_times()[:2]) - server_before_s
    walls_s.sort()
    us_per_item = 1e6 / BATCH_ENTRIES
    return {
        "wall_median": round(statistics.median(walls_s) * us_per_item, 1),
        "wall_p95": round(walls_s[int(len(walls_s) * 0.95)] * us_per_item, 1),
        "processor_here": round(process_s / len(walls_s) * us_per_item, 1),
        "processor_server": round(server_s / len(walls_s) * us_per_item, 1),
    }


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
    main()
