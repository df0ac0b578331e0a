"""What is due: schedules claimed in Postgres, so that each run starts once, and backfills of theirs that have died.

Nothing is started here; the answers say what to start. What schedules people keep is `producers.backfill`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, text

from schemas.cron import next_run
from schemas.database import translated
from schemas.errors import RowRefusedError, ScheduleError
from schemas.names import BackfillState

JOB_BACKFILL = "backfill"
JOB_PRUNE = "prune"
NIGHTLY_PRUNE = "nightly prune"
JOB_QUALITY = "quality"
NIGHTLY_QUALITY = "nightly quality"
"""Names that people give hold no space, so that none of theirs is one of these."""

MOST_ATTEMPTS = 5
_NIGHTLY = {JOB_PRUNE: ("prune",), JOB_QUALITY: ("quality", "evaluate")}
_PRUNE_CRON = "30 3 * * *"
_QUALITY_CRON = "0 4 * * *"
_DUE_AT_ONCE = 20
_DEAD_AFTER_S = 60.0

_DUE = text("""
    SELECT id, name, cron, timezone, job, options, catch_up, next_run_at, now() AS now FROM schedules
    WHERE enabled AND next_run_at <= now() ORDER BY next_run_at, id LIMIT :most FOR UPDATE SKIP LOCKED
""")
_ADVANCE = text("""
    UPDATE schedules SET next_run_at = :next_run_at, enabled = :enabled, last_outcome = :outcome,
        last_run_at = CASE WHEN :started THEN now() ELSE last_run_at END
    WHERE id = :id
""")
_RUNNING = text("SELECT max(id) FROM backfills WHERE schedule = :name AND state IN ('running', 'draining')")
_INSERT_BACKFILL = text("""
    INSERT INTO backfills (source, origin, options, state, schedule, attempts)
    SELECT options->>'source', options->>'origin', options->'options', :state, name, 1 FROM schedules WHERE id = :id
    RETURNING id
""")
_UNTENDED = text("""
    SELECT id, schedule, attempts FROM backfills
    WHERE state IN ('running', 'draining') AND schedule IS NOT NULL AND changed_at < now() - CAST(:age AS interval)
    ORDER BY id LIMIT :most FOR UPDATE SKIP LOCKED
""")
_AGAIN = text("UPDATE backfills SET attempts = attempts + 1, changed_at = now() WHERE id = :id")
_GIVE_UP = text("""
    UPDATE backfills SET state = :state, error = :error, changed_at = now(), finished_at = now() WHERE id = :id
""")
_UNCOUNT = text("UPDATE backfills SET attempts = greatest(0, attempts - 1) WHERE id = ANY(:ids) AND state = :state")
_KEEP_NIGHTLY = text("""
    INSERT INTO schedules (name, cron, job, catch_up, next_run_at, created_by)
    SELECT :name, :cron, :job, true, :next_run_at, 'fenliu'
    WHERE NOT EXISTS (SELECT FROM schedules WHERE name = :name) ON CONFLICT (name) DO NOTHING
""")
_NIGHTLY_IS_KEPT = text("SELECT now() AS now, EXISTS (SELECT FROM schedules WHERE name = :name) AS kept")


@dataclass(frozen=True, slots=True)
class Launch:
    """A command line to run beside the worker, and the name of its log. `backfill_id`: the row it works on."""

    log: str
    arguments: tuple[str, ...]
    backfill_id: int | None = None


def claim(engine: Engine, *, grace_s: float, prunes: bool) -> list[Launch]:
    """What is due now, each run to one caller only: the rows are moved on to their next run in one transaction.

    A run that is later than `grace_s` is started all the same if its schedule catches up, once however many were
    missed; else it is skipped. None starts while the one before still runs. `prunes`: whether the settings let
    anything be pruned. Raises DatabaseUnavailableError; nothing is claimed then.
    """
    launches = []
    with translated(), engine.begin() as connection:
        for row in connection.execute(_DUE, {"most": _DUE_AT_ONCE}):
            change = {"id": row.id, "next_run_at": None, "enabled": True, "started": False}
            try:
                change["next_run_at"] = next_run(row.cron, row.timezone, row.now)
                with translated(), connection.begin_nested():
                    launch, outcome = _decide(connection, row, grace_s, prunes)
            except (ScheduleError, RowRefusedError) as error:  # what somebody has changed by hand
                connection.execute(_ADVANCE, change | {"enabled": False, "outcome": f"disabled: {error}"})
                continue
            connection.execute(_ADVANCE, change | {"started": launch is not None, "outcome": outcome})
            if launch:
                launches.append(launch)
    return launches


def recover(engine: Engine, is_tended: Callable[[int], bool]) -> list[Launch]:
    """Backfills of schedules that nothing has worked on for a minute, each to one caller only.

    `is_tended` says whether a process holds a backfill's lease. After MOST_ATTEMPTS starts it has failed.
    Raises DatabaseUnavailableError, and what `is_tended` raises; nothing is claimed then.
    """
    launches = []
    with translated(), engine.begin() as connection:
        age = timedelta(seconds=_DEAD_AFTER_S)
        for row in connection.execute(_UNTENDED, {"age": age, "most": _DUE_AT_ONCE}):
            if is_tended(row.id):
                continue
            if row.attempts >= MOST_ATTEMPTS:
                error = f"ended {row.attempts} times before it was done; see logs/{_log_name(row.schedule)}.log"
                connection.execute(_GIVE_UP, {"id": row.id, "state": BackfillState.FAILED.value, "error": error})
                continue
            connection.execute(_AGAIN, {"id": row.id})
            launches.append(_resume(row.id, row.schedule))
    return launches


def uncount(engine: Engine, backfill_ids: list[int]) -> None:
    """Do not count the last start of these: a worker that stops cut them off. Raises DatabaseUnavailableError."""
    with translated(), engine.begin() as connection:
        connection.execute(_UNCOUNT, {"ids": backfill_ids, "state": BackfillState.RUNNING.value})


def keep_nightly_prune(engine: Engine) -> None:
    """See that pruning is scheduled for every night. Raises DatabaseUnavailableError."""
    _keep_nightly(engine, NIGHTLY_PRUNE, _PRUNE_CRON, JOB_PRUNE)


def keep_nightly_quality(engine: Engine) -> None:
    """See that quality is measured every night. Raises DatabaseUnavailableError."""
    _keep_nightly(engine, NIGHTLY_QUALITY, _QUALITY_CRON, JOB_QUALITY)


def _keep_nightly(engine: Engine, name: str, cron: str, job: str) -> None:
    with translated(), engine.begin() as connection:
        found = connection.execute(_NIGHTLY_IS_KEPT, {"name": name}).one()
        if not found.kept:
            values = {"name": name, "cron": cron, "job": job, "next_run_at": next_run(cron, "UTC", found.now)}
            connection.execute(_KEEP_NIGHTLY, values)


def _decide(connection: Connection, row: Any, grace_s: float, prunes: bool) -> tuple[Launch | None, str]:
    late = row.now - row.next_run_at
    if late > timedelta(seconds=grace_s) and not row.catch_up:
        return None, f"skipped: the run of {_shown(row.next_run_at)} was missed by {_span(late)}"
    if row.job == JOB_PRUNE and not prunes:
        return None, "skipped: FENLIU_RETENTION_DAYS and FENLIU_DELIVERED_DAYS are both 0"
    if row.job in _NIGHTLY:
        return Launch(row.job, _NIGHTLY[row.job]), "started"
    if row.job != JOB_BACKFILL:
        return None, f"skipped: there is no job {row.job!r}"
    running = connection.scalar(_RUNNING, {"name": row.name})
    if running is not None:
        return None, f"not started: backfill {running} of the run before still runs"
    started = connection.execute(_INSERT_BACKFILL, {"id": row.id, "state": BackfillState.RUNNING.value}).scalar_one()
    return _resume(started, row.name), f"started backfill {started}"


def _resume(backfill_id: int, schedule: str) -> Launch:
    return Launch(_log_name(schedule), ("backfill", "resume", str(backfill_id)), backfill_id)


def _log_name(schedule: str) -> str:
    return f"backfill-{schedule}"


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}Z"


def _span(span: timedelta) -> str:
    minutes = int(span.total_seconds() // 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"
