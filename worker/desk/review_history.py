"""Looking back on reviews: the list of decisions, a reviewer's count, and the texts to train on. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, func, select, text, tuple_

from schemas.database import translated
from schemas.names import ReviewOrigin, ReviewState, Task
from schemas.tables import items, reviews
from worker.desk.copies import fingerprint

_MOST_REVIEWERS = 500
_CHUNK_ROWS = 1_000

# The newest decision of an item counts. Near-copies, which have the same `said`, stand together: first the newest that
# somebody has looked at.
_REVIEWED = text("""
    WITH newest AS (
        SELECT DISTINCT ON (source, item_id) * FROM reviews
        WHERE task = :task AND state IN ('accepted', 'corrected')
        ORDER BY source, item_id, decided_at DESC, id DESC
    )
    SELECT i.text, r.label, r.source, r.item_id, r.state, r.origin, r.decided_at, r.fingerprint,
        coalesce(original.fingerprint, r.fingerprint, r.id::text) AS said,
        i.updated_at = r.text_updated_at AS is_same_entry
    FROM newest r JOIN items i USING (source, item_id)
    LEFT JOIN reviews original ON original.id = (r.before ->> 'copy_of')::bigint
    WHERE i.text <> '' AND r.label <> 'triage'
        AND r.decided_at >= coalesce(CAST(:since AS timestamptz), '-infinity')
        AND r.origin = coalesce(:origin, r.origin) AND r.source = coalesce(:source, r.source)
    ORDER BY said, r.before ? 'copy_of', r.decided_at DESC, r.id DESC
""")


@dataclass(frozen=True, slots=True)
class PastReview:
    """One decision in the list. `label`: None if it was skipped. `along`: it was judged along with a near-copy."""

    id: int
    source: str
    item_id: str
    task: Task
    state: ReviewState
    reviewer: str
    origin: ReviewOrigin
    label: str | None
    predicted_label: str
    predicted_score: float
    model: str
    model_version: str
    text: str | None
    note: str | None
    along: bool
    decided_at: datetime


@dataclass(frozen=True, slots=True)
class ReviewedText:
    """A text with the label that a person found right."""

    text: str
    label: str
    source: str
    item_id: str
    state: ReviewState
    origin: ReviewOrigin
    decided_at: datetime


def history(
    engine: Engine,
    *,
    reviewer: str | None = None,
    task: Task | None = None,
    before: tuple[datetime, int] | None = None,
    limit: int = 50,
) -> list[PastReview]:
    """Decisions, newest first. `before`: time and id of the last one on the page before this.

    Raises DatabaseUnavailableError.
    """
    r = reviews.c
    query = (
        select(
            *(r.id, r.source, r.item_id, r.task, r.state, r.reviewer, r.origin, r.label, r.predicted_label),
            *(r.predicted_score, r.model, r.model_version, items.c.text, r.note),
            r.before.has_key("copy_of").label("along"),
            r.decided_at,
        )
        .join(items, (items.c.source == r.source) & (items.c.item_id == r.item_id))
        .where(r.decided_at.is_not(None))
        .order_by(r.decided_at.desc(), r.id.desc())
        .limit(limit)
    )
    if reviewer is not None:
        query = query.where(r.reviewer == reviewer)
    if task is not None:
        query = query.where(r.task == task)
    if before is not None:
        query = query.where(tuple_(r.decided_at, r.id) < tuple_(*before))
    with translated(), engine.connect() as connection:
        return [
            PastReview(
                **{
                    **row._mapping,
                    "task": Task(row.task),
                    "state": ReviewState(row.state),
                    "origin": ReviewOrigin(row.origin),
                }
            )
            for row in connection.execute(query)
        ]


def reviewers(engine: Engine) -> list[str]:
    """Everybody who has decided something, by name. Raises DatabaseUnavailableError."""
    query = select(reviews.c.reviewer).where(reviews.c.decided_at.is_not(None)).distinct().limit(_MOST_REVIEWERS)
    with translated(), engine.connect() as connection:
        return sorted(connection.scalars(query))


def count_since(engine: Engine, reviewer: str, since: datetime) -> int:
    """How many items a reviewer has judged since then; skipped ones do not count. Raises DatabaseUnavailableError."""
    r = reviews.c
    query = select(func.count()).where(
        r.reviewer == reviewer, r.decided_at >= since, r.state.in_((ReviewState.ACCEPTED, ReviewState.CORRECTED))
    )
    with translated(), engine.connect() as connection:
        return connection.scalar(query) or 0


def reviewed_texts(
    engine: Engine,
    task: Task,
    *,
    since: datetime | None = None,
    origin: ReviewOrigin | None = None,
    source: str | None = None,
) -> list[ReviewedText]:
    """Texts with the labels that people found right, accepted and corrected, by source and id.

    The newest decision of each item, near-copies once. Left out is what has another text by now (the same, sent again,
    is not another), and tickets for triage, which is no team. `since`, `origin` and `source` narrow the decisions.
    Raises DatabaseUnavailableError.
    """
    values = {"task": task, "since": since, "origin": origin, "source": source}
    found: dict[str, ReviewedText] = {}
    with translated(), engine.connect().execution_options(yield_per=_CHUNK_ROWS) as connection:
        for row in connection.execute(_REVIEWED, values):
            if row.said not in found and (row.is_same_entry or fingerprint(row.text) == row.fingerprint):
                found[row.said] = ReviewedText(
                    row.text, row.label, row.source, row.item_id, ReviewState(row.state), ReviewOrigin(row.origin),
                    row.decided_at,
                )  # fmt: skip
    return sorted(found.values(), key=lambda each: (each.source, each.item_id))
