"""The table `backfills`: one row for each, with a copy of its progress. The position that counts is Redis'."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, func, select, update

from producers.backfill.options import Options
from producers.backfill.progress import Progress
from schemas.database import translated
from schemas.errors import BackfillError
from schemas.names import DEFAULT_SOURCE, BackfillState
from schemas.tables import backfills

FINAL = frozenset([BackfillState.DONE, BackfillState.CANCELLED])
_SOME = 50


@dataclass(frozen=True, slots=True)
class Record:
    """One row of the table."""

    id: int
    state: BackfillState
    options: Options
    progress: Progress
    total: int | None
    schedule: str | None
    error: str | None
    report: Mapping[str, Any]
    created_at: datetime
    changed_at: datetime
    finished_at: datetime | None

    def at(self, progress: Progress) -> Record:
        """The same with newer progress."""
        return replace(self, progress=progress)

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        progress = self.progress
        return {
            "id": self.id,
            "state": self.state.value,
            "origin": self.options.origin,
            "source": self.options.source or DEFAULT_SOURCE,
            "total": self.total,
            "read": progress.read,
            "enqueued": progress.enqueued,
            "skipped": progress.skipped,
            "refused": progress.refused,
            "first_entry_id": progress.first,
            "last_entry_id": progress.last,
            "schedule": self.schedule,
            "error": self.error,
            "created_at": self.created_at.isoformat(),
            "changed_at": self.changed_at.isoformat(),
            "finished_at": self.finished_at.isoformat() if self.finished_at else None,
            "report": dict(self.report),
        }


def create(engine: Engine, options: Options) -> Record:
    """A new backfill, running. Raises DatabaseUnavailableError."""
    values = {
        "source": options.source or DEFAULT_SOURCE,
        "origin": options.origin,
        "options": options.as_json(),
        "state": BackfillState.RUNNING.value,
        "attempts": 1,
    }
    with translated(), engine.begin() as connection:
        return _record(connection.execute(backfills.insert().values(values).returning(backfills)).one())


def get(engine: Engine, backfill_id: int) -> Record:
    """Raises BackfillError if there is none, DatabaseUnavailableError."""
    with translated(), engine.connect() as connection:
        row = connection.execute(select(backfills).where(backfills.c.id == backfill_id)).one_or_none()
    if row is None:
        raise BackfillError(f"there is no backfill {backfill_id}: `fenliu backfill list` shows them")
    return _record(row)


def recent(engine: Engine, most: int = _SOME) -> list[Record]:
    """The newest backfills, newest first. Raises DatabaseUnavailableError."""
    statement = select(backfills).order_by(backfills.c.id.desc()).limit(most)
    with translated(), engine.connect() as connection:
        return [_record(row) for row in connection.execute(statement)]


def unfinished(engine: Engine) -> list[Record]:
    """Backfills that are neither done nor cancelled. Raises DatabaseUnavailableError."""
    statement = select(backfills).where(backfills.c.state.not_in([state.value for state in FINAL]))
    with translated(), engine.connect() as connection:
        return [_record(row) for row in connection.execute(statement)]


def save(
    engine: Engine,
    backfill_id: int,
    progress: Progress | None = None,
    *,
    state: BackfillState | None = None,
    total: int | None = None,
    error: str | None = None,
    report: Mapping[str, Any] | None = None,
) -> bool:
    """Write what is given; `state` clears or sets the error with it. False: it has been cancelled, nothing written.

    Raises DatabaseUnavailableError.
    """
    values: dict[str, Any] = {"changed_at": func.now()}
    if progress is not None:
        values |= {
            "position": progress.as_json(),
            "enqueued": progress.enqueued,
            "refused": progress.refused,
            "skipped": progress.skipped,
            "first_entry_id": progress.first,
            "last_entry_id": progress.last,
        }
    if state is not None:
        values |= {"state": state.value, "error": None if error is None else _storable(error)}
        values["finished_at"] = func.now() if state in FINAL or state is BackfillState.FAILED else None
    if total is not None:
        values["total"] = total
    if report is not None:
        values["report"] = dict(report)
    statement = (
        update(backfills)
        .where(backfills.c.id == backfill_id, backfills.c.state != BackfillState.CANCELLED.value)
        .values(values)
    )
    with translated(), engine.begin() as connection:
        return connection.execute(statement).rowcount == 1


def _storable(error: str) -> str:
    """What a broken file made part of a message may hold what Postgres' text cannot."""
    return error.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def _record(row: Any) -> Record:
    return Record(
        id=row.id,
        state=BackfillState(row.state),
        options=Options.from_json({"origin": row.origin, **row.options}),
        progress=Progress.load(row.position),
        total=row.total,
        schedule=row.schedule,
        error=row.error,
        report=row.report,
        created_at=row.created_at,
        changed_at=row.changed_at,
        finished_at=row.finished_at,
    )
