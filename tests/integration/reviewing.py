"""Items with results of a model version and what reviewers said of them, for tests of quality."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, insert, update

from schemas.names import ReviewState, Task
from schemas.tables import models, predictions, reviews
from tests.integration.outcomes import comment
from worker.sink import Sink

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
"""A Friday. `outcomes.NOON` is 19 days earlier."""


def put_in_production(engine: Engine, version: str = "1", since: datetime = NOW - timedelta(days=10)) -> None:
    """Say that tiny/`version` is in production since then."""
    values = {"name": "tiny", "version": version, "tasks": ["sentiment"], "state_since": since}
    with engine.begin() as connection:
        connection.execute(update(models).values(state="retired"))
        connection.execute(
            insert(models).values(**values, state="production", manifest={"labels": ["negative", "positive"]})
        )


def classify(engine: Engine, first: int, labels: Sequence[str], version: str = "1", **more: Any) -> None:
    """Store sentiments of the items `first`, `first` + 1 …, all by the entries of the same noon."""
    Sink(engine).write([comment(str(first + n), 0, label, version, **more) for n, label in enumerate(labels)], NOW)


def stored_at(engine: Engine, first: int, many: int, at: datetime) -> None:
    """Move the results of items to the time at which they were stored, a second apart."""
    with engine.begin() as connection:
        for n in range(many):
            moved = update(predictions).where(predictions.c.item_id == str(first + n))
            connection.execute(moved.values(created_at=at + timedelta(seconds=n)))


def review(
    engine: Engine, first: int, truths: Sequence[str], origin: str = "random", at: datetime = NOW, **more: Any
) -> None:
    """Decide on the items `first`, `first` + 1 …; `more`: other columns of reviews."""
    rows = [
        {
            "source": "shop", "item_id": str(first + n), "task": Task.SENTIMENT.value, "label": truth,
            "state": ReviewState.ACCEPTED.value, "reviewer": "mei", "origin": origin,
            "text_updated_at": datetime(2026, 3, 1, 12, tzinfo=UTC), "decided_at": at + timedelta(seconds=n), **more,
        }
        for n, truth in enumerate(truths)
    ]  # fmt: skip
    with engine.begin() as connection:
        connection.execute(insert(reviews), rows)
