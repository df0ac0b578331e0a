"""Schedules of backfills as people keep them: added, listed, paused and removed.

Who looks when one is due, and starts it, is the worker at each tick of the clock.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, delete, select, text, update
from sqlalchemy.dialects import postgresql

from producers.backfill.options import Options
from schemas.cron import next_run
from schemas.database import translated
from schemas.errors import ScheduleError
from schemas.names import DEFAULT_SOURCE
from schemas.tables import schedules

JOB = "backfill"
# No space: such names are Fenliu's own. No slash: a log file is named after it.
_NAME = re.compile(r"\w[\w.-]{0,63}")

_LIST = text("""
    SELECT s.*, last.id AS backfill_id, last.state AS backfill_state, last.error AS backfill_error
    FROM schedules s LEFT JOIN LATERAL (
        SELECT id, state, error FROM backfills WHERE schedule = s.name ORDER BY id DESC LIMIT 1
    ) last ON true
    WHERE s.job = :job ORDER BY s.name
""")


@dataclass(frozen=True, slots=True)
class Schedule:
    """One schedule, and the newest backfill that it has started."""

    name: str
    cron: str
    timezone: str
    catch_up: bool
    enabled: bool
    origin: str
    next_run_at: datetime | None
    last_run_at: datetime | None
    last_outcome: str | None
    created_by: str
    backfill_id: int | None
    backfill_state: str | None
    backfill_error: str | None

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        shown = {name: getattr(self, name) for name in self.__slots__}
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in shown.items()}


def add(
    engine: Engine, name: str, *, cron: str, timezone: str, catch_up: bool, options: Options, by: str
) -> datetime:  # fmt: skip
    """Keep a schedule; when it runs first. Raises ScheduleError and DatabaseUnavailableError."""
    if not _NAME.fullmatch(name):
        raise ScheduleError(f"{name!r} is no name: letters, digits, dots, - and _, 64 at most")
    first = next_run(cron, timezone, datetime.now(UTC))
    row = {
        "name": name,
        "cron": cron,
        "timezone": timezone,
        "job": JOB,
        "options": row_of(options),
        "catch_up": catch_up,
        "next_run_at": first,
        "created_by": by,
    }
    with translated(), engine.begin() as connection:
        added = connection.execute(
            postgresql.insert(schedules).values(row).on_conflict_do_nothing().returning(schedules.c.id)
        ).one_or_none()
    if added is None:
        raise ScheduleError(f"there is a schedule {name!r} already: `fenliu backfill schedule remove {name}` first")
    return first


def row_of(options: Options) -> Mapping[str, Any]:
    """What the tick copies into `backfills` for each run."""
    return {"source": options.source or DEFAULT_SOURCE, "origin": options.origin, "options": options.as_json()}


def remove(engine: Engine, name: str) -> None:
    """Forget a schedule; a backfill that it has started goes on. Raises ScheduleError, DatabaseUnavailableError."""
    with translated(), engine.begin() as connection:
        if not connection.execute(delete(schedules).where(*_is(name))).rowcount:
            raise _unknown(name)


def enable(engine: Engine, name: str) -> datetime:
    """Let a schedule run from now on, without what was missed; when it runs next.

    Raises ScheduleError and DatabaseUnavailableError.
    """
    with translated(), engine.begin() as connection:
        found = connection.execute(
            select(schedules.c.cron, schedules.c.timezone).where(*_is(name)).with_for_update()
        ).one_or_none()
        if found is None:
            raise _unknown(name)
        due = next_run(found.cron, found.timezone, datetime.now(UTC))
        connection.execute(update(schedules).where(*_is(name)).values(enabled=True, next_run_at=due))
    return due


def disable(engine: Engine, name: str) -> None:
    """Start no more runs; one that runs goes on. Raises ScheduleError and DatabaseUnavailableError."""
    with translated(), engine.begin() as connection:
        if not connection.execute(update(schedules).where(*_is(name)).values(enabled=False)).rowcount:
            raise _unknown(name)


def every(engine: Engine) -> list[Schedule]:
    """All of them, by name. Raises DatabaseUnavailableError."""
    with translated(), engine.connect() as connection:
        return [
            Schedule(
                **{name: getattr(row, name) for name in Schedule.__slots__ if name != "origin"},
                origin=row.options.get("origin", ""),
            )
            for row in connection.execute(_LIST, {"job": JOB})
        ]


def _is(name: str) -> tuple[Any, ...]:
    return schedules.c.name == name, schedules.c.job == JOB


def _unknown(name: str) -> ScheduleError:
    return ScheduleError(f"there is no schedule {name!r}: `fenliu backfill schedule list` shows them")
