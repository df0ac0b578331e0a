"""The list of decisions: who, when, what."""

from __future__ import annotations

import asyncio
from datetime import datetime

from starlette.responses import Response

from dashboard.pages import Pages
from dashboard.visit import Visit
from schemas.names import Role, Task
from worker.desk import review_history
from worker.desk.review_history import PastReview

pages = Pages()

_LINES = 50
_MOST_ID_DIGITS = 18


@pages.get("/review/history", Role.REVIEWER)
async def history(visit: Visit) -> Response:
    """One page of it, by reviewer and task."""
    query = visit.request.query_params
    reviewer = query.get("reviewer", "") or None
    task = next((each for each in Task if each == query.get("task")), None)
    engine = visit.site.engine
    lines = await asyncio.to_thread(
        review_history.history, engine, reviewer=reviewer, task=task, before=_cursor(query.get("before", "")),
        limit=_LINES + 1,
    )  # fmt: skip
    shown = lines[:_LINES]
    wish = {name: value for name, value in (("reviewer", reviewer), ("task", task and task.value)) if value}
    return visit.page(
        "review/history.html",
        lines=shown,
        reviewer=reviewer,
        task=task,
        tasks=list(Task),
        reviewers=await asyncio.to_thread(review_history.reviewers, engine),
        newest=visit.url("/review/history", **wish) if query.get("before") else None,
        older=visit.url("/review/history", **wish, before=_place(shown[-1])) if len(lines) > _LINES else None,
    )


def _place(line: PastReview) -> str:
    return f"{line.decided_at.isoformat()},{line.id}"


def _cursor(value: str) -> tuple[datetime, int] | None:
    """Where the page before ended; None for what is no such place."""
    at, _, number = value.partition(",")
    if not number.isascii() or not number.isdigit() or len(number) > _MOST_ID_DIGITS:
        return None
    try:
        moment = datetime.fromisoformat(at.replace(" ", "+"))
    except ValueError:
        return None
    return (moment, int(number)) if moment.tzinfo else None
