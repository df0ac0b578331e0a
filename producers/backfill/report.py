"""What became of a backfill's rows, counted in the tables.

Counted are rows of the bulk lane whose entry id lies between the backfill's first and last and whose source is one
of its sources. Another backfill of the same source that runs at the same time is therefore counted in.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Engine, text

from producers.backfill.progress import Progress
from schemas.database import translated
from schemas.messages import entry_order, entry_time

_CLOCKS_DIFFER = timedelta(hours=1)

_MINE = """
    lane = 'bulk'
    AND (entry_ms, entry_seq) >= (:first_ms, :first_seq) AND (entry_ms, entry_seq) <= (:last_ms, :last_seq)
    AND (CAST(:sources AS text[]) IS NULL OR source = ANY (CAST(:sources AS text[])))
"""
# The time, with room for clocks that differ, is for the indexes: there is none on entry ids.
_ITEMS = text(f"""
    SELECT state, count(*) FROM items WHERE state <> 'dead' AND received_at >= :since AND {_MINE} GROUP BY state
""")  # noqa: S608 - constants
_LABELS = text(f"""
    SELECT task, label, count(*) FROM predictions WHERE created_at >= :since AND {_MINE}
    GROUP BY task, label ORDER BY task, count(*) DESC, label
""")  # noqa: S608
_DEAD = text(f"""
    SELECT code, count(*) FROM (
        SELECT *, CAST(split_part(entry_id, '-', 1) AS numeric) AS entry_ms,
            CAST(split_part(entry_id, '-', 2) AS numeric) AS entry_seq
        FROM dead_letters WHERE created_at >= :since
    ) AS d WHERE {_MINE} GROUP BY code ORDER BY count(*) DESC, code
""")  # noqa: S608


def report_of(engine: Engine, progress: Progress) -> dict[str, Any]:
    """The report of what `progress` bounds. Raises DatabaseUnavailableError."""
    states: dict[str, int] = {}
    dead: dict[str, int] = {}
    labels: dict[str, dict[str, int]] = {}
    if progress.enqueued and progress.first and progress.last:
        with translated(), engine.connect() as connection:
            mine = _parameters(progress)
            states = _pairs(connection, _ITEMS, mine)
            dead = _pairs(connection, _DEAD, mine)
            for task, label, number in connection.execute(_LABELS, mine):
                labels.setdefault(task, {})[label] = number
    done, expired = states.get("done", 0), states.get("expired", 0)
    return {
        "read": progress.read,
        "enqueued": progress.enqueued,
        "skipped": progress.skipped,
        "refused": progress.refused,
        "refusals": [{"where": one.where, "code": one.code, "message": one.message} for one in progress.refusals],
        "done": done,
        "expired": expired,
        "superseded": max(0, progress.enqueued - done - expired - sum(dead.values())),
        "dead_lettered": dead,
        "labels": {task: _shares(counts) for task, counts in labels.items()},
        "enqueue_s": round(progress.spent_s, 3),
        "rows_per_s": round(progress.read / progress.spent_s, 1) if progress.spent_s else None,
    }


def _parameters(progress: Progress) -> dict[str, Any]:
    first, last = entry_order(progress.first or "0-0"), entry_order(progress.last or "0-0")
    return {
        "since": entry_time(progress.first or "0-0") - _CLOCKS_DIFFER,
        "first_ms": first[0], "first_seq": first[1], "last_ms": last[0], "last_seq": last[1],
        "sources": None if progress.sources is None else list(progress.sources),
    }  # fmt: skip


def _pairs(connection: Connection, statement: Any, parameters: dict[str, Any]) -> dict[str, int]:
    return {row[0]: row[1] for row in connection.execute(statement, parameters)}


def _shares(counts: dict[str, int]) -> dict[str, Any]:
    total = sum(counts.values())
    return {label: {"count": number, "share": round(number / total, 4)} for label, number in counts.items()}
