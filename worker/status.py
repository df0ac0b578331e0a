"""What Postgres knows of how it goes: dead letters, speed, models in production.

Reads only. The inboxes are `worker.desk.inboxes`', and how it is all printed is `worker.cli.stack`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, text

from schemas.database import translated


@dataclass(frozen=True, slots=True)
class TablesState:
    """What Postgres knows: dead letters not yet replayed, items taken in the last minute, models in production."""

    dead_letters: int
    items_per_s: float
    models: list[dict[str, Any]]


def look_at_tables(engine: Engine) -> TablesState:
    """Raises DatabaseUnavailableError."""
    with translated(), engine.connect() as connection:
        dead = connection.scalar(text("SELECT count(*) FROM dead_letters WHERE replayed_at IS NULL"))
        minute = connection.scalar(text("SELECT count(*) FROM items WHERE received_at > now() - interval '60 s'"))
        rows = connection.execute(
            text("SELECT name, version, tasks FROM models WHERE state = 'production' ORDER BY name, version")
        )
        return TablesState(dead or 0, round((minute or 0) / 60, 2), [dict(row) for row in rows.mappings()])
