"""Reviewed results: what people said of items, beside what each model version had said of the same texts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, text

from schemas.database import translated
from schemas.labels import LabelSet
from schemas.names import AssignmentStatus, Task
from schemas.settings import Settings
from worker.desk.copies import fingerprint
from worker.desk.past_tickets import labels_of
from worker.desk.scoring import SURE_SENTIMENT, Judged, Report, report
from worker.router import decided

# The newest decision on each item. It counts as random if one of its reviews of this text was: that a second look
# followed does not change how it was drawn. A rule's decision is no model's. Results of another text are left out; the
# same text sent again, as by a backfill for a new version, has another time but the same fingerprint.
_READ = text("""
    WITH decided AS (
        SELECT DISTINCT ON (source, item_id)
            source, item_id, coalesce(label, predicted_label) AS truth, text_updated_at, fingerprint, decided_at,
            bool_or(origin = 'random') OVER (PARTITION BY source, item_id, text_updated_at) AS is_random
        FROM reviews
        WHERE task = :task AND state IN ('accepted', 'corrected') AND decided_at IS NOT NULL
        ORDER BY source, item_id, decided_at DESC, id DESC
    )
    SELECT d.truth, d.is_random, d.decided_at, d.fingerprint, p.model, p.model_version, p.label, p.score, p.scores,
        p.stage, p.route_set, p.route_set_version, p.updated_at = d.text_updated_at AS is_same_entry,
        CASE WHEN p.updated_at IS DISTINCT FROM d.text_updated_at THEN i.text END AS text
    FROM decided d
    JOIN predictions p USING (source, item_id) JOIN items i USING (source, item_id)
    WHERE p.task = :task AND p.stage <> 'rule' AND d.truth IS NOT NULL
        AND (p.updated_at = d.text_updated_at OR (p.updated_at = i.updated_at AND d.fingerprint IS NOT NULL))
    ORDER BY d.decided_at, source, item_id
""")

Version = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Reviewed:
    """One result of a model version, its truth, how the item was drawn, and when a person decided."""

    judged: Judged
    is_random: bool
    decided_at: datetime


def read(engine: Engine, task: Task, settings: Settings) -> dict[Version, list[Reviewed]]:
    """Results by (model, version), oldest decision first. Raises DatabaseUnavailableError."""
    with translated(), engine.connect() as connection:
        rows = connection.execute(_READ, {"task": task.value}).all()
    rows = [row for row in rows if row.is_same_entry or fingerprint(row.text or "") == row.fingerprint]
    sets = {(row.route_set, row.route_set_version) for row in rows if row.route_set_version is not None}
    labels = {each: labels_of(engine, *each) for each in sets}
    found: dict[Version, list[Reviewed]] = {}
    for row in rows:
        own = labels.get((row.route_set, row.route_set_version), LabelSet(()))
        judged = Judged(row.truth, row.label, row.score, _is_decided(row, task, own, settings))
        found.setdefault((row.model, row.model_version), []).append(Reviewed(judged, row.is_random, row.decided_at))
    return found


def weeks(reviewed: Iterable[Reviewed]) -> list[dict[str, Any]]:
    """Measures of each week of decision, which begins on Monday in UTC, oldest first."""
    of_week: dict[str, list[Judged]] = {}
    for each in reviewed:
        day = each.decided_at.date()
        of_week.setdefault((day - timedelta(days=day.weekday())).isoformat(), []).append(each.judged)
    return [{"week": week} | _week(report(judged)) for week, judged in sorted(of_week.items())]


def _week(made: Report) -> dict[str, Any]:
    return {
        "accuracy": made.accuracy.as_json(),
        "macro_f1": made.macro_f1,
        "calibration_error": made.calibration_error,
        "covered": made.covered.as_json(),
    }


def _is_decided(row: Any, task: Task, labels: LabelSet, settings: Settings) -> bool:
    """Whether nobody had to look at it: sure enough of a sentiment, or not in triage by its version's thresholds."""
    if task is Task.SENTIMENT:
        return bool(row.score >= SURE_SENTIMENT)
    made = decided(
        row.stage, row.label, row.scores or {row.label: row.score},
        labels=labels, threshold=settings.triage_threshold, margin=settings.triage_margin,
    )  # fmt: skip
    return made.status is AssignmentStatus.AUTO
