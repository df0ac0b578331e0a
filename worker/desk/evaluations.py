"""Evaluations: what was measured of a model version, one row per kind of data and day.

What is measured is in `worker.desk.scoring` and `worker.desk.drift`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, select, update
from sqlalchemy.dialects.postgresql import distinct_on

from schemas.database import translated
from schemas.tables import evaluations


class Data(enum.StrEnum):
    """What was measured on: reviews of items that were drawn at random, all reviews, the shipped starter set, or
    live results as they were when the version was new (reference) and in the last day (drift)."""

    RANDOM = "reviewed:random"
    ALL = "reviewed:all"
    STARTER = "starter"
    REFERENCE = "reference"
    DRIFT = "drift"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One measurement. `from_at` and `to_at`: of what time the data is, where it has any."""

    task: str
    model: str
    model_version: str
    data: str
    items: int
    accuracy: float | None
    macro_f1: float | None
    metrics: dict[str, Any]
    from_at: datetime | None
    to_at: datetime | None
    created_at: datetime | None = None


_COLUMNS = [evaluations.c[name] for name in Evaluation.__dataclass_fields__]
_KEY = ("task", "model", "model_version", "data")
_VALUES = ("items", "accuracy", "macro_f1", "metrics", "from_at", "to_at")


def write(connection: Connection, made: Evaluation) -> bool:
    """Add a row, or change today's; whether anything is new. The caller sees that nobody else writes meanwhile."""
    table = evaluations.c
    last = connection.execute(
        select(
            table.id,
            *(table[name] for name in _VALUES),
            (func.date(table.created_at) == func.current_date()).label("is_of_today"),
        )
        .where(*(table[name] == getattr(made, name) for name in _KEY))
        .order_by(table.id.desc())
        .limit(1)
    ).one_or_none()
    values = {name: getattr(made, name) for name in _VALUES}
    if last is not None and all(getattr(last, name) == value for name, value in values.items()):
        return False
    if last is not None and last.is_of_today:
        connection.execute(update(evaluations).where(table.id == last.id).values(**values, created_at=func.now()))
    else:
        connection.execute(insert(evaluations).values(**{name: getattr(made, name) for name in _KEY}, **values))
    return True


def newest(connection: Connection, task: str, model: str, model_version: str, data: Data) -> Evaluation | None:
    """The last measurement of its kind."""
    table = evaluations.c
    found = connection.execute(
        select(*_COLUMNS)
        .where(table.task == task, table.model == model, table.model_version == model_version, table.data == data.value)
        .order_by(table.id.desc())
        .limit(1)
    ).one_or_none()
    return Evaluation(*found) if found else None


def listed(engine: Engine, task: str | None = None) -> list[Evaluation]:
    """The last measurement of each task, model version and kind of data. Raises DatabaseUnavailableError."""
    table = evaluations.c
    key = [table[name] for name in _KEY]
    query = select(*_COLUMNS).ext(distinct_on(*key)).order_by(*key, table.id.desc())
    if task is not None:
        query = query.where(table.task == task)
    with translated(), engine.connect() as connection:
        return [Evaluation(*row) for row in connection.execute(query)]
