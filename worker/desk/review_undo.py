"""Taking back a reviewer's decisions, the last one first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Row, delete, func, select, update

from schemas.database import translated
from schemas.errors import ReviewError
from schemas.names import ReviewState, Task
from schemas.settings import Settings
from schemas.tables import assignment_events, assignments, items, reviews
from worker.desk import tickets
from worker.desk.review_pick import Asked, Candidate, Which, uncertain
from worker.desk.review_queue import copies_of, keys_of
from worker.desk.reviews import DECIDED, Decision, Fault, decision_in, judged_along, lock_items, newest_event

_MOST_HOURS = 24
_WHY = "review undone"


@dataclass(frozen=True, slots=True)
class Undone:
    """An item is claimed again. `team`: where a ticket is now. `moved_by`: who has moved it since, so that it stays.

    `example`: the team whose example its text still is.
    """

    id: int
    source: str
    item_id: str
    team: str | None
    moved_by: str | None
    example: str | None


def last(engine: Engine, reviewer: str, task: Task) -> Decision | None:
    """The decision that `undo` would take back, if it is not older than a day. Raises DatabaseUnavailableError."""
    with translated(), engine.connect() as connection:
        found = _last(connection, reviewer, task)
        return decision_in(connection, found) if found else None


def undo(engine: Engine, settings: Settings, reviewer: str, task: Task) -> Undone | None:
    """Take back the reviewer's last decision on a task: the item is claimed again, what he held is given back.

    A ticket goes back to where it was, unless somebody has moved it since. Near-copies that were judged along are
    open again. None if there is nothing to undo. Raises ReviewError if another reviewer has the item now, and
    DatabaseUnavailableError.
    """
    r = reviews.c
    with translated(), engine.begin() as connection:
        found = _last(connection, reviewer, task)
        if found is None:
            return None
        review = connection.execute(select(reviews).where(r.id == found)).one()
        copies = connection.execute(select(reviews).where(judged_along(review))).all()
        lock_items(connection, [(row.source, row.item_id) for row in (review, *copies)])
        if connection.scalar(select(r.state).where(r.id == found).with_for_update()) != review.state:
            raise ReviewError("this decision was undone already", Fault.UNDONE)
        _check_free(connection, review, reviewer, settings.review_claim_s)
        moved_by = _put_back(connection, review, reviewer)
        for row in copies:
            _put_back(connection, row, reviewer)
        connection.execute(delete(reviews).where(r.id.in_([row.id for row in copies])))
        mine = (r.reviewer == reviewer) & (r.state == ReviewState.CLAIMED) & (r.task == task)
        connection.execute(delete(reviews).where(mine))
        _reopen(connection, review, Asked(Which(task), reviewer, settings))
        a = assignments.c
        team = connection.scalar(select(a.team).where(a.source == review.source, a.item_id == review.item_id))
        return Undone(found, review.source, review.item_id, team, moved_by, review.before.get("example"))


def _last(connection: Connection, reviewer: str, task: Task) -> int | None:
    r = reviews.c
    return connection.scalar(
        select(r.id)
        .where(
            r.reviewer == reviewer,
            r.task == task,
            r.decided_at > func.now() - timedelta(hours=_MOST_HOURS),
            r.state.in_((*DECIDED, ReviewState.SKIPPED)),
            ~r.before.has_key("copy_of"),
        )
        .order_by(r.decided_at.desc(), r.id.desc())
        .limit(1)
    )


def _check_free(connection: Connection, review: Row[Any], reviewer: str, claim_s: float) -> None:
    """An item may be in the queue again, after it was skipped or its text has changed. A claim that ran out is over."""
    r = reviews.c
    of_item = (r.source == review.source) & (r.item_id == review.item_id) & (r.task == review.task)
    of_others = of_item & (r.state == ReviewState.CLAIMED) & (r.reviewer != reviewer)
    ran_out = r.claimed_at <= func.now() - timedelta(seconds=claim_s)
    connection.execute(delete(reviews).where(of_others, ran_out))
    other = connection.scalar(select(r.reviewer).where(of_others))
    if other is not None:
        item = f"{review.source}/{review.item_id}"
        said = f"{item} cannot be undone: {other} is reviewing it now"
        raise ReviewError(said, Fault.WITH_ANOTHER, item=item, who=other)


def _put_back(connection: Connection, review: Row[Any], reviewer: str) -> str | None:
    """Put a ticket where it was before this decision; who has moved it since, if somebody has."""
    if "event" not in review.before:
        return None
    newest = newest_event(connection, review.source, review.item_id)
    if newest != review.before["event"]:
        return connection.scalar(select(assignment_events.c.who).where(assignment_events.c.id == newest))
    place: Mapping[str, Any] | None = review.before["place"]
    if place:
        tickets.put_back_in(connection, review.source, review.item_id, place, by=reviewer, why=_WHY)
    return None


def _reopen(connection: Connection, review: Row[Any], asked: Asked) -> None:
    """Claimed again, with the near-copies that wait beside it now."""
    before = {name: review.before[name] for name in ("example",) if name in review.before}
    values: dict[str, Any] = {"state": ReviewState.CLAIMED, "label": None, "decided_at": None, "before": before}
    of_item = (items.c.source == review.source) & (items.c.item_id == review.item_id)
    item = connection.execute(select(items.c.text, items.c.updated_at).where(of_item)).one()
    if item.updated_at == review.text_updated_at:
        candidate = Candidate(review.source, review.item_id, item.text, item.updated_at)
        copies = copies_of(candidate, uncertain(connection, asked))
        values |= {"copies": len(copies), "before": before | keys_of(copies)}
    connection.execute(update(reviews).where(reviews.c.id == review.id).values(values | {"claimed_at": func.now()}))
