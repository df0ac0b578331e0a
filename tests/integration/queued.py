"""Results that were stored just now, and reviewers who look at them, for tests of the review queue."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, text

from schemas.labels import Label, LabelSet
from schemas.names import AssignmentStatus, Task
from schemas.routes import RouteSet
from schemas.settings import Settings
from tests.integration.outcomes import comment, sentiment, ticket
from worker import routes
from worker.desk import review_queue
from worker.desk.review_pick import Which
from worker.desk.review_queue import Shown
from worker.outcome import Done, Outcome
from worker.sink import Sink

SENTIMENT, ROUTING = Which(Task.SENTIMENT), Which(Task.ROUTING)
TEAMS = LabelSet((Label("billing"), Label("shipping"), Label("old")))


def store(engine: Engine, *outcomes: Outcome) -> None:
    """Write outcomes as a worker does."""
    Sink(engine).write(outcomes, datetime.now(UTC))


def unsure(item_id: str, said: str, score: float = 0.6, label: str = "positive", at_s: int = 0, **more: Any) -> Done:
    """A comment of which the model is not sure."""
    scores = {label: score, "negative" if label == "positive" else "positive": 1 - score}
    done = comment(item_id, at_s, text=said, **more)
    return done._replace(predictions=(sentiment(label, score=score, scores=scores),))


def sure(item_id: str, said: str, **more: Any) -> Done:
    """A comment of which the model is sure."""
    return unsure(item_id, said, 0.95, **more)


def in_triage(item_id: str, said: str, team: str = "billing", score: float = 0.4, **more: Any) -> Done:
    """A ticket that the model gave to nobody; it would rather have given it to `team`."""
    done = ticket(item_id, team=team, score=score, status=AssignmentStatus.TRIAGE, text=said, **more)
    assert done.assignment is not None
    return done._replace(assignment=replace(done.assignment, team="triage"))


def apply_teams(engine: Engine) -> None:
    """Three versions of the teams, since tickets were routed by the third; `old` is disabled."""
    for threshold in (0.1, 0.2, 0.3):
        labels = (*TEAMS.labels[:2], replace(TEAMS.labels[2], threshold=threshold))
        routes.apply(engine, RouteSet("default", LabelSet(labels), frozenset(["old"])), "mei")


def claim(engine: Engine, settings: Settings, reviewer: str = "li", which: Which = SENTIMENT, **more: Any) -> Shown:
    """The next item, which must be there."""
    shown = review_queue.claim(engine, settings, reviewer, which, **more)
    assert shown is not None
    return shown


def rows(engine: Engine, statement: str) -> list[tuple[Any, ...]]:
    """All rows of a query."""
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def execute(engine: Engine, statement: str) -> None:
    """Run one statement."""
    with engine.begin() as connection:
        connection.execute(text(statement))
