"""Looking back on reviews: the list of decisions, a reviewer's count, and the texts to train on. Reads only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, func, select, text, tuple_

from schemas.database import translated
from schemas.names import ReviewOrigin, ReviewState, Task
from schemas.tables import items, reviews

_MOST_REVIEWERS = 500
_CHUNK_ROWS = 1_000

# The newest decision of an item counts, if it speaks of the text that the item has. Of near-copies the newest that
# somebody has looked at stands for all.
_REVIEWED = text("""
    WITH newest AS (
        SELECT DISTINCT ON (source, item_id) * FROM reviews
        WHERE task = :task AND state IN ('accepted', 'corrected')
        ORDER BY source, item_id, decided_at DESC, id DESC
    ), kept AS (
        SELECT DISTINCT ON (coalesce(original.fingerprint, r.fingerprint, r.id::text))
            i.text, r.label, r.source, r.item_id, r.state, r.origin, r.decided_at
        FROM newest r JOIN items i USING (source, item_id)
        LEFT JOIN reviews original ON original.id = (r.before ->> 'copy_of')::bigint
        WHERE i.updated_at = r.text_updated_at AND i.text <> ''
            AND r.decided_at >= coalesce(CAST(:since AS timestamptz), '-infinity')
            AND r.origin = coalesce(:origin, r.origin) AND r.source = coalesce(:source, r.source)
        ORDER BY coalesce(original.fingerprint, r.fingerprint, r.id::text), r.before ? 'copy_of', r.decided_at DESC,
            r.id DESC
    )
    SELECT text, label, source, item_id, state, origin, decided_at FROM kept
    ORDER BY source COLLATE "C", item_id COLLATE "C"
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
) -> Iterator[ReviewedText]:
    """Texts with the labels that people found right, accepted and corrected, by source and id.

    The newest decision of each item, near-copies once; left out is what has another text by now. `since`, `origin`
    and `source` narrow the decisions. Raises DatabaseUnavailableError.
    """
    values = {"task": task, "since": since, "origin": origin, "source": source}
    with translated(), engine.connect().execution_options(yield_per=_CHUNK_ROWS) as connection:
        for row in connection.execute(_REVIEWED, values):
            yield ReviewedText(
                row.text, row.label, row.source, row.item_id, ReviewState(row.state), ReviewOrigin(row.origin),
                row.decided_at,
            )  # fmt: skip
