"""Quality of the model in production: measured on reviews, against its reference, and alerts when it is worse.

`evaluate` is what the clock starts every night and the button on the page starts at once. The measures themselves are
in `worker.desk.scoring` and `worker.desk.drift`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, Engine, text

from schemas.database import translated
from schemas.names import ADVISORY_LOCK_QUALITY, Measure, Task
from schemas.settings import Settings
from worker.desk import alerts, drift, evaluations
from worker.desk.alerts import CALM, Reading
from worker.desk.drift import Distribution, Which
from worker.desk.evaluations import Data, Evaluation
from worker.desk.reviewed import Reviewed, read, weeks
from worker.desk.scoring import Judged, Share, accuracy, loss, report, share

FEWEST_REVIEWS = 30
"""With fewer reviews nothing is said of accuracy."""
RECENT = timedelta(days=28)
DAY = timedelta(days=1)

_PRODUCTION = text("""
    SELECT name, version, tasks, coalesce(manifest->'labels', '[]'::jsonb) AS labels, state_since FROM models
    WHERE state = 'production' ORDER BY state_since DESC LIMIT 1
""")
_LOCK = text("SELECT pg_advisory_xact_lock(:key)")


@dataclass(frozen=True, slots=True)
class Production:
    """The model version in production: what it can do, its own labels, and since when."""

    model: str
    version: str
    tasks: tuple[Task, ...]
    labels: tuple[str, ...]
    since: datetime


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What a run has measured: every evaluation, and how many of them are new or say something new."""

    production: Production | None
    made: tuple[Evaluation, ...]
    changed: int


def in_production(engine: Engine) -> Production | None:
    """The model in production; None before the first worker has run. Raises DatabaseUnavailableError."""
    with translated(), engine.connect() as connection:
        row = connection.execute(_PRODUCTION).one_or_none()
    if row is None:
        return None
    return Production(
        row.name, row.version, tuple(Task(task) for task in row.tasks), tuple(row.labels), row.state_since
    )


def evaluate(engine: Engine, settings: Settings, *, now: datetime | None = None) -> Evaluated:
    """Measure everything anew, write what has changed, raise and end alerts. Raises DatabaseUnavailableError.

    Of every version that has results on reviewed texts; drift and alerts of the one in production alone.
    """
    now = now or datetime.now(UTC)
    production = in_production(engine)
    made: list[Evaluation] = []
    changed = 0
    for task in Task:
        by_version = read(engine, task, settings)
        with translated(), engine.begin() as connection:
            connection.execute(_LOCK, {"key": ADVISORY_LOCK_QUALITY})
            of_task = [each for version, found in by_version.items() for each in _of_reviews(task, version, found)]
            if production and task in production.tasks:
                of_task += _drift(connection, task, production, settings, now)
                own = by_version.get((production.model, production.version), [])
                readings = [*_drift_readings(of_task, settings)]
                key = (task, production.model, production.version)
                starter = evaluations.newest(connection, *key, Data.STARTER)
                readings += _accuracy_readings(own, starter, key, settings, now)
                alerts.settle(connection, readings)
            changed += sum(evaluations.write(connection, each) for each in of_task)
            made += of_task
    if production:
        with translated(), engine.begin() as connection:
            alerts.end_of_others(connection, production.model, production.version)
    return Evaluated(production, tuple(made), changed)


def take_reference(engine: Engine, settings: Settings, *, now: datetime | None = None) -> list[Evaluation]:
    """Let the results of the last day be what drift is measured against from now on, for each task.

    A task with fewer than `quality_items` results keeps its reference. Raises DatabaseUnavailableError.
    """
    now = now or datetime.now(UTC)
    production = in_production(engine)
    taken: list[Evaluation] = []
    if production is None:
        return taken
    for task in production.tasks:
        with translated(), engine.begin() as connection:
            connection.execute(_LOCK, {"key": ADVISORY_LOCK_QUALITY})
            which = _which(task, production, now - DAY, now)
            found = _recent(connection, which, production.since, settings)
            if found is not None:
                evaluation = _evaluation(which, Data.REFERENCE, found)
                evaluations.write(connection, evaluation)
                taken.append(evaluation)
    return taken


def _of_reviews(task: Task, version: tuple[str, str], found: Sequence[Reviewed]) -> Iterator[Evaluation]:
    for data, chosen in ((Data.RANDOM, [each for each in found if each.is_random]), (Data.ALL, list(found))):
        if chosen:
            made = report([each.judged for each in chosen])
            metrics = made.as_json() | ({"weeks": weeks(chosen)} if data is Data.RANDOM else {})
            yield Evaluation(
                task.value, *version, data.value, len(chosen), made.accuracy.value, made.macro_f1, metrics,
                chosen[0].decided_at, chosen[-1].decided_at,
            )  # fmt: skip


def _drift(
    connection: Connection, task: Task, production: Production, settings: Settings, now: datetime
) -> Iterator[Evaluation]:
    which = _which(task, production, now - DAY, now)
    stored = evaluations.newest(connection, task.value, production.model, production.version, Data.REFERENCE)
    if stored is None:
        stored = _first_reference(connection, task, production, settings, now)
        if stored is None:
            return
        yield stored
    recent = _recent(connection, which, production.since, settings)
    if recent is None:
        return
    reference = Distribution.from_json(stored.metrics)
    drifts = drift.compare(reference, recent)
    made = _evaluation(which, Data.DRIFT, recent)
    yield replace(
        made,
        metrics={
            "reference": reference.as_json(),
            "now": recent.as_json(),
            "drift": {each.measure.value: {"value": each.value, "chance": each.chance} for each in drifts},
        },
    )


def _first_reference(
    connection: Connection, task: Task, production: Production, settings: Settings, now: datetime
) -> Evaluation | None:
    """The version's first day in production, once it is over; where that gave too little, its first results."""
    if now < production.since + DAY:
        return None
    which = _which(task, production, production.since, production.since + DAY)
    found = drift.sample(connection, which)
    if found.items < settings.quality_items:
        which = replace(which, to_at=now)
        found = drift.first(connection, which, settings.quality_items)
    return _evaluation(which, Data.REFERENCE, found) if found.items >= settings.quality_items else None


def _recent(connection: Connection, which: Which, since: datetime, settings: Settings) -> Distribution | None:
    """The last day; where that gave too little, the newest results that there are; None: too few in all."""
    found = drift.sample(connection, which)
    if found.items < settings.quality_items:
        found = drift.newest(connection, replace(which, from_at=since), settings.quality_items)
    return found if found.items >= settings.quality_items else None


def _which(task: Task, production: Production, from_at: datetime, to_at: datetime) -> Which:
    return Which(task.value, production.model, production.version, from_at, to_at)


def _evaluation(which: Which, data: Data, found: Distribution) -> Evaluation:
    return Evaluation(
        which.task, which.model, which.model_version, data.value, found.items, None, None, found.as_json(),
        which.from_at, which.to_at,
    )  # fmt: skip


def _drift_readings(made: Sequence[Evaluation], settings: Settings) -> Iterator[Reading]:
    for each in made:
        for name, found in each.metrics.get("drift", {}).items():
            value, bound = found["value"], settings.quality_drift_bound
            yield Reading(
                Measure(name), Task(each.task), each.model, each.model_version, value, bound,
                f"The {_ABOUT[Measure(name)]} of {each.task} differ from the reference: index {value:.2f}, "
                f"bound {bound:g}, {each.items} results",
                crossed=value > max(bound, found["chance"]),
                calm=value <= CALM * max(bound, found["chance"]),  # with many labels chance alone is over the bound
            )  # fmt: skip


_ABOUT = {Measure.LABELS: "label shares", Measure.CONFIDENCE: "scores", Measure.LENGTH: "text lengths"}


def _accuracy_readings(
    own: Sequence[Reviewed], starter: Evaluation | None, key: tuple[Task, str, str], settings: Settings, now: datetime
) -> Iterator[Reading]:  # fmt: skip
    """Random reviews of the last four weeks against what came before them, or else against the starter set."""
    drawn = [each for each in own if each.is_random]
    before: Share | None = None
    first = [each.judged for each in drawn[: settings.quality_items]]
    if len(drawn) >= settings.quality_items + FEWEST_REVIEWS:
        before, drawn = accuracy(first), drawn[settings.quality_items :]
    recent = [each.judged for each in drawn if each.decided_at >= now - RECENT]
    if before is None:
        before = _of_starter(starter, recent)
    if before is None or len(recent) < FEWEST_REVIEWS:
        return
    after, bound = accuracy(recent), settings.quality_accuracy_bound
    lost, is_sure = loss(before, after)
    yield Reading(
        Measure.ACCURACY, *key, after.value, before.value - bound,
        f"Accuracy of {key[0].value} is {after.value:.1%} on {after.items} random reviews of the last "
        f"{RECENT.days} days, after {before.value:.1%}",
        crossed=lost > bound and is_sure,
        calm=lost <= CALM * bound,
    )  # fmt: skip


def _of_starter(starter: Evaluation | None, recent: Sequence[Judged]) -> Share | None:
    """Accuracy on the starter set, where it has the same labels: teams of one's own are another task."""
    if starter is None:
        return None
    known = {each["label"] for each in starter.metrics["labels"]}
    found = starter.metrics["accuracy"]
    return share(found["right"], found["items"]) if {each.truth for each in recent} <= known else None
