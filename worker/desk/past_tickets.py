"""Past tickets with what was decided about them, by the model and by people, for whoever tries out something new."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, Select, func, lateral, select, true

from schemas.conditions import Facts
from schemas.database import translated
from schemas.labels import LabelSet
from schemas.names import AssignmentStatus, ReviewState, Task
from schemas.settings import Settings
from schemas.tables import assignments, items, predictions, reviews
from worker import routes
from worker.router import decided


@dataclass(frozen=True, slots=True)
class Which:
    """The newest `last` tickets of a route set, and of a source and written since a time if these are given."""

    last: int = 500
    since: datetime | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class PastTicket:
    """One ticket. `team`: where it is. `by_model`: where the model or a rule put it, which a person may have changed.

    `by_person`: where a person put it, by an override or in a review; None if nobody looked. `score` is the stored
    result's, `model` its name/version, `version` that of the route set.
    """

    facts: Facts
    written_at: datetime
    team: str
    overridden: bool
    by_model: str
    by_person: str | None
    score: float
    model: str
    version: int


def read_past(engine: Engine, route_set: str, which: Which, settings: Settings) -> list[PastTicket]:
    """Past tickets with a current result of routing among `route_set`, newest first.

    Where a person has overridden the model, its decision is worked out again from the stored scores, by the
    thresholds of `settings` and of the version that decided. Raises DatabaseUnavailableError.
    """
    with translated(), engine.connect() as connection:
        rows = connection.execute(_query(route_set, which)).all()
    wanted = {row.route_set_version for row in rows if row.status == AssignmentStatus.OVERRIDDEN}
    labels = {version: labels_of(engine, route_set, version) for version in wanted}
    return [_past(row, labels, settings) for row in rows]


def _query(route_set: str, which: Which) -> Select[Any]:
    """Reads predictions backwards in time by their index, and then by key."""
    p, a, i = predictions.c, assignments.c, items.c
    review = lateral(
        select(func.coalesce(reviews.c.label, reviews.c.predicted_label).label("reviewed"))
        .where(
            reviews.c.source == p.source,
            reviews.c.item_id == p.item_id,
            reviews.c.task == Task.ROUTING,
            reviews.c.state.in_([ReviewState.ACCEPTED, ReviewState.CORRECTED]),
        )
        .order_by(reviews.c.id.desc())
        .limit(1)
    )
    same = (p.source == a.source) & (p.item_id == a.item_id)
    query = (
        select(
            *(i.source, i.kind, i.item_id, i.text, i.meta, p.item_created_at),
            *(p.label, p.score, p.scores, p.stage, p.model, p.model_version, p.route_set_version),
            *(a.team, a.status, review.c.reviewed),
        )
        .select_from(predictions)
        .join(assignments, same)
        .join(items, (i.source == a.source) & (i.item_id == a.item_id))
        .outerjoin(review, true())
        .where(p.current, p.task == Task.ROUTING, p.route_set == route_set, i.text.is_not(None))
        .order_by(p.item_created_at.desc())
        .limit(which.last)
    )
    if which.since is not None:
        query = query.where(p.item_created_at >= which.since)
    if which.source is not None:
        query = query.where(p.source == which.source)
    return query


def labels_of(engine: Engine, route_set: str, version: int) -> LabelSet:
    """The teams of a version with their thresholds; none if the version is gone. Raises DatabaseUnavailableError."""
    stored = routes.read(engine, route_set, version)
    return stored.route_set.labels if stored else LabelSet(())


def _past(row: Any, labels: Mapping[int, LabelSet], settings: Settings) -> PastTicket:
    overridden = row.status == AssignmentStatus.OVERRIDDEN
    by_model = row.team
    if overridden:
        by_model = decided(
            row.stage,
            row.label,
            row.scores,
            labels=labels[row.route_set_version],
            threshold=settings.triage_threshold,
            margin=settings.triage_margin,
        ).team
    return PastTicket(
        facts=Facts(row.source, row.kind, row.item_id, row.text, row.meta),
        written_at=row.item_created_at,
        team=row.team,
        overridden=overridden,
        by_model=by_model,
        by_person=row.team if overridden else row.reviewed,
        score=row.score,
        model=f"{row.model}/{row.model_version}",
        version=row.route_set_version,
    )
