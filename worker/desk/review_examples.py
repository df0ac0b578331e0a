"""A reviewed ticket as an example of its team, added and taken out again with the decision."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, Row, select, update

from schemas.database import translated
from schemas.errors import ReviewError
from schemas.names import TRIAGE_TEAM, Task
from schemas.tables import reviews
from worker.desk import tickets
from worker.desk.reviews import DECIDED
from worker.routes import Applied


def add_example(engine: Engine, review_id: int, reviewer: str) -> Applied:
    """Make a decided ticket's text an example of the team it is for; routers use it within `routes_poll_s`.

    Raises ReviewError if this is no such decision of the reviewer's, LabelsError if the set has no such team or the
    team no room, and DatabaseUnavailableError.
    """
    with translated(), engine.connect() as connection:
        review = _own(connection, review_id, reviewer)
    if review.task != Task.ROUTING or review.state not in DECIDED or review.label in (None, TRIAGE_TEAM):
        raise ReviewError("only a ticket that was found to be for a team can be made its example")
    applied = tickets.add_example(engine, review.source, review.item_id, review.label, by=reviewer)
    if applied.changes:  # what was an example before is not ours to take out again
        _note_example(engine, review_id, review.label)
    return applied


def remove_example(engine: Engine, review_id: int, reviewer: str) -> Applied:
    """Take out the example that `add_example` has added, also after the decision was undone. Raises as it does."""
    with translated(), engine.connect() as connection:
        review = _own(connection, review_id, reviewer)
    team = review.before.get("example")
    if team is None:
        raise ReviewError("the text of this ticket was not added to the examples of a team")
    applied = tickets.remove_example(engine, review.source, review.item_id, team, by=reviewer)
    _note_example(engine, review_id, None)
    return applied


def _own(connection: Connection, review_id: int, reviewer: str) -> Row[Any]:
    review = connection.execute(
        select(reviews).where(reviews.c.id == review_id, reviews.c.reviewer == reviewer)
    ).one_or_none()
    if review is None:
        raise ReviewError(f"there is no decision {review_id} of {reviewer}")
    return review


def _note_example(engine: Engine, review_id: int, team: str | None) -> None:
    with translated(), engine.begin() as connection:
        before = connection.scalar(select(reviews.c.before).where(reviews.c.id == review_id).with_for_update())
        if before is not None:
            rest = {name: value for name, value in before.items() if name != "example"}
            values = rest | ({"example": team} if team else {})
            connection.execute(update(reviews).where(reviews.c.id == review_id).values(before=values))
