"""Alerts: bounds that were crossed, one row while each is open; what measures them is elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine, text

from schemas.database import translated

_OPEN = text("""
    SELECT measure, task, model, model_version, value, bound FROM alerts
    WHERE ended_at IS NULL ORDER BY measure, task, model, model_version
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


def open_alerts(engine: Engine) -> list[OpenAlert]:
    """Every bound that is crossed now. Raises DatabaseUnavailableError."""
    with translated(), engine.connect() as connection:
        return [OpenAlert(**row) for row in connection.execute(_OPEN).mappings()]
