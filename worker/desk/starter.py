"""The starter set: a hundred shipped texts with known labels, so that there is something to see before any review.

50 sentiments and 50 tickets with the teams they are routed among. They are classified without being stored; who does
so hands the answers in. Where the texts come from: starter.LICENSE.md beside this file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sqlalchemy import Engine, text

from schemas.database import translated
from schemas.labels import LabelSet, label_set
from schemas.names import ADVISORY_LOCK_QUALITY, AssignmentStatus, Task
from schemas.settings import Settings
from worker.desk import evaluations
from worker.desk.evaluations import Data, Evaluation
from worker.desk.quality import Production
from worker.desk.scoring import SURE_SENTIMENT, Judged, report
from worker.router import decide

_FILE = Path(__file__).with_name("starter.jsonl")
_LOCK = text("SELECT pg_advisory_xact_lock(:key)")


@dataclass(frozen=True, slots=True)
class StarterItem:
    """One text and its known label."""

    id: str
    task: Task
    text: str
    label: str


@dataclass(frozen=True, slots=True)
class Starter:
    """The set. `teams`: team → description; `sha256` changes when anything does."""

    items: tuple[StarterItem, ...]
    teams: Mapping[str, str]
    sha256: str

    def of(self, task: Task) -> list[StarterItem]:
        """The items of one task, in order."""
        return [item for item in self.items if item.task is task]

    @property
    def labels(self) -> LabelSet:
        """The teams that its tickets are routed among."""
        return label_set(dict(self.teams))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said of an item. `scores`: of every label."""

    label: str
    score: float
    scores: Mapping[str, float]


@cache
def read_starter() -> Starter:
    """The shipped set."""
    content = _FILE.read_bytes()
    first, *rest = (json.loads(line) for line in content.decode("utf-8").splitlines())
    items = (StarterItem(row["id"], Task(row["task"]), row["text"], row["label"]) for row in rest)
    return Starter(tuple(items), first["teams"], hashlib.sha256(content).hexdigest())


def to_measure(engine: Engine, production: Production) -> list[Task]:
    """Tasks whose starter items the model has not answered yet, and could. Raises DatabaseUnavailableError.

    An imported model with sentiments of its own names is not judged by ours.
    """
    starter = read_starter()
    sentiments = {item.label for item in starter.of(Task.SENTIMENT)}
    able = [task for task in production.tasks if task is not Task.SENTIMENT or sentiments <= set(production.labels)]
    with translated(), engine.connect() as connection:
        known = {
            task: evaluations.newest(connection, task.value, production.model, production.version, Data.STARTER)
            for task in able
        }
    return [task for task, last in known.items() if last is None or last.metrics.get("set") != starter.sha256]


def store(
    engine: Engine, task: Task, version: tuple[str, str], answers: Sequence[Answer], settings: Settings
) -> Evaluation:
    """Measure a model's answers to all items of a task, in order, and keep that. Raises DatabaseUnavailableError.

    `version`: name and version of the model that gave them.
    """
    starter = read_starter()
    items = starter.of(task)
    judged = [
        Judged(item.label, answer.label, answer.score, _is_decided(task, answer, starter.labels, settings))
        for item, answer in zip(items, answers, strict=True)
    ]
    made = report(judged)
    said = [
        {"id": item.id, "truth": each.truth, "predicted": each.predicted, "score": each.score}
        for item, each in zip(items, judged, strict=True)
    ]
    metrics = made.as_json() | {"answers": said, "set": starter.sha256}
    evaluation = Evaluation(
        task.value, *version, Data.STARTER.value, len(items), made.accuracy.value, made.macro_f1, metrics, None, None
    )
    with translated(), engine.begin() as connection:
        connection.execute(_LOCK, {"key": ADVISORY_LOCK_QUALITY})
        evaluations.write(connection, evaluation)
    return evaluation


def _is_decided(task: Task, answer: Answer, labels: LabelSet, settings: Settings) -> bool:
    if task is Task.SENTIMENT:
        return answer.score >= SURE_SENTIMENT
    found = decide(answer.scores, labels, settings.triage_threshold, settings.triage_margin)
    return found.status is AssignmentStatus.AUTO
