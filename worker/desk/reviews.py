"""What a reviewer makes of a claimed item: accepted, corrected or skipped.

A decision and what it does to tickets are one transaction. Locks are taken in the order of the others: items by
identity, then what belongs to them. Claiming is `worker.desk.review_queue`'s, taking back `worker.desk.review_undo`'s,
making it an example `worker.desk.review_examples`', looking back `worker.desk.review_history`'s.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, and_, func, insert, select, text, update

from schemas.database import translated
from schemas.errors import PermanentError, ReviewError
from schemas.names import AssignmentStatus, ReviewOrigin, ReviewState, Task
from schemas.tables import assignment_events, assignments, items, predictions, reviews
from worker.desk import tickets
from worker.desk.copies import fingerprint
from worker.desk.review_queue import labels_of

MAX_NOTE_CHARS = 1_000
DECIDED = (ReviewState.ACCEPTED, ReviewState.CORRECTED)

_LOCK_ITEMS = text("""
    SELECT source, item_id FROM items
    WHERE (source, item_id) IN (SELECT * FROM ROWS FROM (
        unnest(CAST(:sources AS text[])), unnest(CAST(:item_ids AS text[]))
    ))
    ORDER BY source COLLATE "C", item_id COLLATE "C" FOR UPDATE
""")


class Fault(enum.StrEnum):
    """Why a review cannot be made: the code of a ReviewError."""

    LOST = "lost"
    DECIDED = "decided"
    WITH_ANOTHER = "with_another"
    CHANGED = "changed"
    NO_LABEL = "no_label"
    NOTE_LONG = "note_long"
    UNDONE = "undone"


@dataclass(frozen=True, slots=True)
class Decision:
    """A reviewer's decision. `label`: what is right, None if it was skipped. `moved`: the ticket has another team now.

    `team`: where a ticket is now. `same`: near-copies that were judged along with it. `example`: the team whose
    example the text was made.
    """

    id: int
    source: str
    item_id: str
    task: Task
    state: ReviewState
    label: str | None
    predicted_label: str
    predicted_score: float
    origin: ReviewOrigin
    team: str | None
    moved: bool
    same: int
    example: str | None
    decided_at: datetime


@dataclass(frozen=True, slots=True)
class _Judged:
    """A result that a person judges."""

    source: str
    item_id: str
    task: str
    predicted_label: str


def decide(
    engine: Engine, review_id: int, reviewer: str, label: str | None, *, note: str = "", same_for_copies: bool = False
) -> Decision:
    """Say what the right label of a claimed item is; None accepts what the model said.

    A ticket that is corrected goes to that team. One in triage that is accepted goes to the predicted team; accepted
    with a team it stays as it is. `same_for_copies`: its near-copies get the label, too, in rows of their own with
    origin low_confidence. Raises ReviewError if the claim is lost, the text has changed or there is no such label,
    PermanentError if a ticket cannot be moved, and DatabaseUnavailableError; nothing is done then.
    """
    note = _note(note)
    with translated(), engine.begin() as connection:
        review = _claimed(connection, review_id, reviewer)
        copies = review.before.get("copies", []) if same_for_copies else []
        lock_items(connection, [(review.source, review.item_id), *((copy[0], copy[1]) for copy in copies)])
        review = _claimed(connection, review_id, reviewer, lock=True)
        _check_text(connection, review)
        label = _label(connection, review, label)
        judged = _Judged(review.source, review.item_id, review.task, review.predicted_label)
        before = _move(connection, judged, label, reviewer, note)
        _decide(connection, review, label, note, before)
        for copy in copies:
            _decide_copy(connection, review, copy, label, note)
        return decision_in(connection, review_id)


def skip(engine: Engine, review_id: int, reviewer: str, *, note: str = "") -> Decision:
    """Leave a claimed item to others: this reviewer is not shown it again, unless its text changes."""
    note = _note(note)
    with translated(), engine.begin() as connection:
        review = _claimed(connection, review_id, reviewer, lock=True)
        _decide(connection, review, None, note, {})
        return decision_in(connection, review_id)


def _note(note: str) -> str:
    note = note.strip()
    if len(note) > MAX_NOTE_CHARS or "\0" in note:
        raise ReviewError(f"note: say it in at most {MAX_NOTE_CHARS} characters", Fault.NOTE_LONG, most=MAX_NOTE_CHARS)
    return note


def _claimed(connection: Connection, review_id: int, reviewer: str, *, lock: bool = False) -> Row[Any]:
    query = select(reviews).where(reviews.c.id == review_id)
    review = connection.execute(query.with_for_update() if lock else query).one_or_none()
    if review is None:
        raise ReviewError("this item is not yours any more: it was given back, or its claim ran out", Fault.LOST)
    item = f"{review.source}/{review.item_id}"
    if review.state != ReviewState.CLAIMED:
        said = f"{item} is decided already, by {review.reviewer}: {review.state}"
        raise ReviewError(said, Fault.DECIDED, item=item, who=review.reviewer)
    if review.reviewer != reviewer:
        said = f"{item} is with {review.reviewer} now: your claim ran out"
        raise ReviewError(said, Fault.WITH_ANOTHER, item=item, who=review.reviewer)
    return review


def lock_items(connection: Connection, keys: Sequence[tuple[str, str]]) -> None:
    """Lock the rows of items, in the order in which everybody does."""
    sources, item_ids = zip(*keys, strict=True)
    connection.execute(_LOCK_ITEMS, {"sources": list(sources), "item_ids": list(item_ids)})


def _check_text(connection: Connection, review: Row[Any]) -> None:
    of_item = (items.c.source == review.source) & (items.c.item_id == review.item_id)
    item = connection.execute(select(items.c.updated_at, items.c.text).where(of_item)).one()
    # The same text, sent again meanwhile, has another time.
    if item.updated_at != review.text_updated_at and fingerprint(item.text or "") != review.fingerprint:
        name = f"{review.source}/{review.item_id}"
        raise ReviewError(f"the text of {name} has changed since you were shown it", Fault.CHANGED, item=name)


def _label(connection: Connection, review: Row[Any], label: str | None) -> str:
    if label is None or label == review.predicted_label:
        return str(review.predicted_label)
    result = _result(connection, review.source, review.item_id, review.task)
    known = labels_of(connection, review.task, result.scores, result.route_set) if result else ()
    if label not in known:
        all_known = ", ".join(known)
        said = f"{label!r} is no label here; choose one of {all_known}"
        raise ReviewError(said, Fault.NO_LABEL, label=label, known=all_known)
    return label


def _result(connection: Connection, source: str, item_id: str, task: str) -> Row[Any] | None:
    """The current result and where the ticket is."""
    p, a = predictions.c, assignments.c
    joined = predictions.outerjoin(assignments, (a.source == p.source) & (a.item_id == p.item_id))
    query = (
        select(p.label, p.score, p.scores, p.model, p.model_version, p.updated_at, a.team, a.status, items.c.text)
        .add_columns(func.coalesce(a.route_set, p.route_set).label("route_set"))
        .select_from(joined.join(items, (items.c.source == p.source) & (items.c.item_id == p.item_id)))
        .where(p.source == source, p.item_id == item_id, p.task == task, p.current, items.c.updated_at == p.updated_at)
    )
    return connection.execute(query).one_or_none()


def _state(label: str, predicted: str) -> ReviewState:
    return ReviewState.ACCEPTED if label == predicted else ReviewState.CORRECTED


def _move(connection: Connection, judged: _Judged, label: str, reviewer: str, note: str) -> dict[str, Any]:
    """Give a ticket to the team that is right, if it is elsewhere; what undoing needs."""
    if judged.task != Task.ROUTING:
        return {}
    key = judged.source, judged.item_id
    of_item = (assignments.c.source == judged.source) & (assignments.c.item_id == judged.item_id)
    place = connection.execute(select(*(assignments.c[name] for name in tickets.PLACE)).where(of_item)).one_or_none()
    # In triage, or with a team that a model has given it since this was shown; a person's word stands.
    is_elsewhere = place is not None and place.status != AssignmentStatus.OVERRIDDEN and place.team != label
    if label == judged.predicted_label and not is_elsewhere:
        return {}
    why = f"review: {note}" if note else "review"
    try:
        tickets.assign_in(connection, *key, label, by=reviewer, why=why)
    except PermanentError as error:
        raise ReviewError(str(error)) from error
    return {"place": dict(place._mapping) if place else None, "event": newest_event(connection, *key)}


def newest_event(connection: Connection, source: str, item_id: str) -> int | None:
    """The last line of a ticket's history."""
    e = assignment_events.c
    newest: int | None = connection.scalar(select(func.max(e.id)).where(e.source == source, e.item_id == item_id))
    return newest


def _decide(connection: Connection, review: Row[Any], label: str | None, note: str, before: dict[str, Any]) -> None:
    """Write the decision. The ids of copies are forgotten: they are other items', which may be erased."""
    state = ReviewState.SKIPPED if label is None else _state(label, review.predicted_label)
    kept = {name: value for name, value in review.before.items() if name == "example"}
    connection.execute(
        update(reviews)
        .where(reviews.c.id == review.id)
        .values(state=state, label=label, note=note or None, before=kept | before, decided_at=func.clock_timestamp())
    )


def _decide_copy(connection: Connection, review: Row[Any], copy: Sequence[str], label: str, note: str) -> None:
    """Judge a near-copy like `review`, unless it is gone, has another text by now, or somebody looks at it."""
    source, item_id, updated_at = copy
    result = _result(connection, source, item_id, review.task)
    if result is None or not result.text or result.updated_at != datetime.fromisoformat(updated_at):
        return
    r = reviews.c
    claimed, decided = r.state == ReviewState.CLAIMED, r.state.in_(DECIDED) & (r.text_updated_at == result.updated_at)
    of_item = (r.source == source) & (r.item_id == item_id) & (r.task == review.task)
    if connection.scalar(select(r.id).where(of_item, claimed | decided).limit(1)) is not None:
        return
    judged = _Judged(source, item_id, review.task, result.label)
    row = {
        "source": source,
        "item_id": item_id,
        "task": review.task,
        "state": _state(label, result.label),
        "reviewer": review.reviewer,
        "origin": ReviewOrigin.LOW_CONFIDENCE,
        "label": label,
        "predicted_label": result.label,
        "predicted_score": result.score,
        "model": result.model,
        "model_version": result.model_version,
        "text_updated_at": result.updated_at,
        "fingerprint": fingerprint(result.text),
        "note": note or None,
        "claimed_at": review.claimed_at,
        "decided_at": func.clock_timestamp(),
        "before": {"copy_of": review.id} | _move(connection, judged, label, review.reviewer, note),
    }
    connection.execute(insert(reviews).values(row))


def judged_along(review: Row[Any]) -> ColumnElement[bool]:
    """The near-copies that were judged along with it; each has a row of its own, decided after it."""
    r = reviews.c
    along = r.before["copy_of"].as_integer() == review.id
    return and_(along, r.reviewer == review.reviewer, r.decided_at >= review.decided_at)


def decision_in(connection: Connection, review_id: int) -> Decision:
    """A decision as it stands, in a transaction of the caller's."""
    r, a = reviews.c, assignments.c
    row = connection.execute(
        select(reviews, a.team)
        .select_from(reviews.outerjoin(assignments, (a.source == r.source) & (a.item_id == r.item_id)))
        .where(r.id == review_id)
    ).one()
    same = select(func.count()).where(judged_along(row))
    return Decision(
        *(row.id, row.source, row.item_id, Task(row.task), ReviewState(row.state), row.label),
        *(row.predicted_label, row.predicted_score, ReviewOrigin(row.origin), row.team),
        moved="event" in row.before,
        same=connection.scalar(same) or 0,
        example=row.before.get("example"),
        decided_at=row.decided_at,
    )
