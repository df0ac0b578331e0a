"""Alerts: bounds that were crossed, one row while each is open; what measures them is `worker.desk.quality`'s."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, text

from schemas.database import translated
from schemas.names import Measure, Task

CALM = 0.8
"""An alert ends when what was measured is back under this share of its bound, so that it does not flicker."""

_OPEN = text("""
    SELECT measure, task, model, model_version, value, bound FROM alerts
    WHERE ended_at IS NULL ORDER BY measure, task, model, model_version
""")
_LIST = text("""
    SELECT measure, task, model, model_version, value, bound, message, created_at, measured_at, ended_at FROM alerts
    ORDER BY ended_at IS NOT NULL, created_at DESC, id DESC LIMIT :most
""")
_RAISE = text("""
    INSERT INTO alerts (measure, task, model, model_version, value, bound, message)
    VALUES (:measure, :task, :model, :model_version, :value, :bound, :message)
    ON CONFLICT (measure, task, model, model_version) WHERE ended_at IS NULL DO NOTHING
""")
# Between bound and calm an alert that is open stays so, and none is raised.
_UPDATE = text("""
    UPDATE alerts SET value = :value, bound = :bound, message = :message, measured_at = now(),
        ended_at = CASE WHEN :calm THEN now() END
    WHERE (measure, task, model, model_version) = (:measure, :task, :model, :model_version) AND ended_at IS NULL
""")
_END_OF_OTHERS = text("""
    UPDATE alerts SET ended_at = now() WHERE ended_at IS NULL AND (model, model_version) <> (:model, :model_version)
""")


@dataclass(frozen=True, slots=True)
class OpenAlert:
    """A bound that is crossed now: what was measured, the newest value, and the bound."""

    measure: str
    task: str
    model: str
    model_version: str
    value: float
    bound: float


@dataclass(frozen=True, slots=True)
class Alert:
    """One row of alerts; `ended_at` is None while it is open."""

    measure: str
    task: str
    model: str
    model_version: str
    value: float
    bound: float
    message: str
    created_at: datetime
    measured_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Reading:
    """What was just measured. `crossed`: raise an alert, or leave it open; `calm`: end it."""

    measure: Measure
    task: Task
    model: str
    model_version: str
    value: float
    bound: float
    message: str
    crossed: bool
    calm: bool


def open_alerts(engine: Engine) -> list[OpenAlert]:
    """Every bound that is crossed now. Raises DatabaseUnavailableError."""
    with translated(), engine.connect() as connection:
        return [OpenAlert(**row) for row in connection.execute(_OPEN).mappings()]


def listed(engine: Engine, most: int = 50) -> list[Alert]:
    """Open alerts, then ended ones, the newest first. Raises DatabaseUnavailableError."""
    with translated(), engine.connect() as connection:
        return [Alert(**row) for row in connection.execute(_LIST, {"most": most}).mappings()]


def settle(connection: Connection, readings: Iterable[Reading]) -> None:
    """Raise, update or end the alert of each reading. What was not measured keeps its alert."""
    for reading in readings:
        values = asdict(reading)
        if reading.crossed:
            connection.execute(_RAISE, values)
        connection.execute(_UPDATE, values | {"calm": reading.calm and not reading.crossed})


def end_of_others(connection: Connection, model: str, model_version: str) -> None:
    """End the alerts of every model version but this one: it alone is in production."""
    connection.execute(_END_OF_OTHERS, {"model": model, "model_version": model_version})
