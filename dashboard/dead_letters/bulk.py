"""Many dead letters sent back or dropped: those that were ticked, or all that match a filter.

In steps: each request does some hundred letters, and the browser asks for the next. What comes meanwhile is left alone,
since the first step says which letter was the newest. Whoever closes the page stops it; what is left waits.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from starlette.exceptions import HTTPException
from starlette.responses import Response

from dashboard.dead_letters.filters import Asked, asked, whole
from dashboard.pages import Pages
from dashboard.visit import Visit
from schemas.errors import RetryableError
from schemas.names import Role
from worker.desk import dead_letters as desk
from worker.desk import replays
from worker.desk.dead_letters import MOST_SEARCHED, Chunk, Counts, Filter, LetterState

pages = Pages()
_STEP_ROWS = 500
_DEEDS = ("replay", "drop")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it has come. `after`: where to go on, None at the end; `left` is counted there, and where it stopped.

    `stopped`: why it does not go on by itself.
    """

    done: int
    total: int
    after: int | None
    left: int | None = None
    stopped: str = ""


@pages.get("/dead-letters/bulk", Role.REVIEWER)
async def confirm(visit: Visit) -> Response:
    """Ask whether that many are really meant."""
    do, found = _asked(visit)
    counts, newest = await asyncio.to_thread(_counts, visit, found.which)
    return visit.page(
        "dead_letters/bulk.html", do=do, asked=found, counts=counts, newest=newest or 0, progress=None,
        searched=MOST_SEARCHED,
    )  # fmt: skip


@pages.post("/dead-letters/bulk", Role.REVIEWER)
async def step(visit: Visit) -> Response:
    """Do the next of them."""
    do, found = _asked(visit)
    newest = whole(visit.form.get("newest"))
    if newest is None:
        _, newest = await asyncio.to_thread(_counts, visit, found.which)
    before = Progress(
        whole(visit.form.get("done")) or 0, whole(visit.form.get("total")) or len(found.which.ids),
        whole(visit.form.get("from")) or 0,
    )  # fmt: skip
    progress = await asyncio.to_thread(_step, visit, do, replace(found.which, newest=newest or 0), before)
    return visit.page(
        "dead_letters/bulk_step.html" if visit.is_htmx else "dead_letters/bulk.html", do=do, asked=found,
        counts=None, newest=newest or 0, progress=progress, searched=MOST_SEARCHED,
    )  # fmt: skip


def _asked(visit: Visit) -> tuple[str, Asked]:
    """What to do, and with which. Raises HTTPException 403 or 422."""
    given = visit.form if visit.request.method == "POST" else visit.request.query_params
    do, found = str(given.get("do") or ""), asked(visit, given)
    if do not in _DEEDS or found.problems:
        raise HTTPException(422, "; ".join(found.problems.values()) or visit.words("Nothing was asked for."))
    # Or else none would mean all.
    if (given.get("ticked") or given.getlist("letter")) and not found.which.ids:
        raise HTTPException(422, visit.words("No letter was ticked."))
    if do == "drop" and not found.which.ids and not visit.may(Role.ADMIN):
        needed = visit.words("This page is for the role %(role)s.", role=visit.words(Role.ADMIN.value))
        raise HTTPException(403, needed)
    which = found.which if do == "drop" else replace(found.which, state=LetterState.WAITING)
    return do, replace(found, which=which)


def _counts(visit: Visit, which: Filter) -> tuple[Counts, int | None]:
    newest = desk.newest_id(visit.site.engine, which)
    return desk.counts(visit.site.engine, replace(which, newest=newest or 0)), newest


def _step(visit: Visit, do: str, which: Filter, before: Progress) -> Progress:
    done, after, stopped = before.done, before.after, ""
    most = done + _STEP_ROWS
    try:
        while after is not None and done < most:
            chunk = _chunk(visit, do, which, after)
            done, after = done + len(chunk.letters), chunk.after
    except RetryableError as error:
        stopped = str(error)
    left = None
    if after is None or stopped:
        left = desk.counts(visit.site.engine, which).total
    return Progress(done, max(before.total, done), after, left, stopped)


def _chunk(visit: Visit, do: str, which: Filter, after: int) -> Chunk:
    site = visit.site
    if do == "drop":
        return desk.drop_chunk(site.engine, which, after)
    return replays.replay_chunk(
        site.engine, site.server, site.settings.keys, which, after=after, by=visit.who,
        inbox_bound=site.settings.inbox_bound,
    )  # fmt: skip
