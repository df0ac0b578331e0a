"""What the page shows: the newest evaluations of one task, sorted into what each part needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dashboard.quality import plots
from dashboard.visit import Visit
from dashboard.words import later
from schemas.names import Measure, Task
from worker.desk import alerts, evaluations, quality, starter
from worker.desk.alerts import Alert
from worker.desk.evaluations import Data, Evaluation
from worker.desk.quality import FEWEST_REVIEWS, Production
from worker.desk.scoring import SURE_SENTIMENT
from worker.desk.starter import StarterItem

MOST_VERSIONS = 6
DATA = {
    Data.RANDOM: later("Random reviews"),
    Data.ALL: later("All reviews"),
    Data.STARTER: later("Starter set"),
}
TASKS = {Task.SENTIMENT: later("Sentiment"), Task.ROUTING: later("Routing")}
MEASURES = {
    Measure.LABELS: later("Label shares"),
    Measure.CONFIDENCE: later("Confidence"),
    Measure.LENGTH: later("Text length"),
    Measure.ACCURACY: later("Accuracy"),
}


@dataclass(frozen=True, slots=True)
class Answered:
    """One starter item and what the model said of it."""

    item: StarterItem
    predicted: str
    score: float

    @property
    def is_right(self) -> bool:
        """Whether it is the known label."""
        return self.predicted == self.item.label


@dataclass(frozen=True, slots=True)
class View:
    """Everything on the page. `shown`: what the figures and plots are of, `data` its kind.

    `missing`: tasks whose starter items are still to be answered.
    """

    task: Task
    production: Production | None
    missing: Sequence[Task]
    alerts: Sequence[Alert]
    measured: dict[Data, Evaluation]
    versions: Sequence[Evaluation]
    data: Data | None
    answers: Sequence[Answered]
    plots: dict[str, Any]
    quality_items: int
    drift_bound: float
    sure_score: float = SURE_SENTIMENT
    fewest: int = FEWEST_REVIEWS

    @property
    def shown(self) -> Evaluation | None:
        """The evaluation whose figures are shown."""
        return self.measured.get(self.data) if self.data else None

    @property
    def random_items(self) -> int:
        """How many random reviews there are of the version in production."""
        found = self.measured.get(Data.RANDOM)
        return found.items if found else 0

    @property
    def tabs(self) -> list[tuple[Data, str, int]]:
        """The kinds of data there are figures of: kind, name, items."""
        return [(data, name, self.measured[data].items) for data, name in DATA.items() if data in self.measured]

    @property
    def drifts(self) -> list[tuple[Measure, str, float, float]]:
        """Measure, name, index, and what chance alone stays below."""
        found = self.measured[Data.DRIFT].metrics["drift"] if Data.DRIFT in self.measured else {}
        return [
            (measure, name, found[measure.value]["value"], found[measure.value]["chance"])
            for measure, name in MEASURES.items()
            if measure.value in found
        ]

    @property
    def open_alerts(self) -> list[Alert]:
        """Those that are still crossed."""
        return [alert for alert in self.alerts if alert.ended_at is None]

    @property
    def tasks(self) -> dict[Task, str]:
        """Both tasks with their names."""
        return TASKS

    @property
    def names(self) -> dict[str, str]:
        """The name of every task, measure and kind of data, by its value."""
        return {key.value: name for names in (TASKS, MEASURES, DATA) for key, name in names.items()}


def chosen_task(asked: str) -> Task:
    """The task that is asked for; sentiment for anything else."""
    return Task(asked) if asked in set(Task) else Task.SENTIMENT


def read_view(visit: Visit, asked_task: str, asked_data: str) -> View:
    """Read what there is. Blocks; raises DatabaseUnavailableError."""
    engine, settings = visit.site.engine, visit.site.settings
    task = chosen_task(asked_task)
    production = quality.in_production(engine)
    every = evaluations.listed(engine, task.value)
    own = (production.model, production.version) if production else None
    measured = {Data(each.data): each for each in every if (each.model, each.model_version) == own}
    reviewed = [each for each in every if each.data in {Data.RANDOM, Data.ALL}]
    data = _chosen_data(asked_data, measured)
    return View(
        task=task,
        production=production,
        missing=starter.to_measure(engine, production) if production else (),
        alerts=[alert for alert in alerts.listed(engine) if alert.task == task.value],
        measured=measured,
        versions=sorted(reviewed, key=_newest_first)[: 2 * MOST_VERSIONS],
        data=data,
        answers=_answers(measured.get(Data.STARTER)),
        plots=plots.all_of(visit.words, reviewed, measured, data),
        quality_items=settings.quality_items,
        drift_bound=settings.quality_drift_bound,
    )


def _chosen_data(asked: str, measured: dict[Data, Evaluation]) -> Data | None:
    """What is asked for if there is some; else random reviews if they are enough, the starter set, or whatever is."""
    there = [data for data in DATA if data in measured]
    if asked in there:
        return Data(asked)
    if Data.RANDOM in measured and measured[Data.RANDOM].items >= FEWEST_REVIEWS:
        return Data.RANDOM
    if Data.STARTER in measured:
        return Data.STARTER
    return there[0] if there else None


def _newest_first(each: Evaluation) -> tuple[float, str, str, bool]:
    at = each.to_at.timestamp() if each.to_at else 0.0
    return -at, each.model, each.model_version, each.data == Data.ALL


def _answers(found: Evaluation | None) -> list[Answered]:
    """Wrong ones first, the surest of them before the others."""
    if found is None:
        return []
    items = {item.id: item for item in starter.read_starter().items}
    answers = [
        Answered(items[each["id"]], each["predicted"], each["score"])
        for each in found.metrics["answers"]
        if each["id"] in items
    ]
    return sorted(answers, key=lambda each: (each.is_right, -each.score))
