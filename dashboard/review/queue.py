"""The queue: one item at a time, claimed, decided, and the next one at once.

With htmx only the desk (`review/desk.html`) is sent; plain forms load the whole page.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, time
from typing import Any

from starlette.responses import Response

from dashboard.pages import Pages
from dashboard.review.faults import said_of
from dashboard.review.wish import query_of, wish_of
from dashboard.visit import Visit
from dashboard.zones import zone_of
from schemas.errors import FenliuError, LabelsError, ReviewError
from schemas.names import Role
from worker.desk import review_choices, review_examples, review_history, review_queue, review_undo, reviews
from worker.desk.review_pick import Which

pages = Pages()

_NUMBERED_LABELS = 9


@pages.get("/review", Role.REVIEWER)
async def review(visit: Visit) -> Response:
    """The page, with the item that the reviewer holds."""
    which = wish_of(visit)
    return await _shown(visit, which)


@pages.post("/review/claim", Role.REVIEWER)
async def claim(visit: Visit) -> Response:
    """The next item."""
    which = wish_of(visit)
    taken = await _claim(visit, which)
    return await _answer(visit, which, is_used_up=not taken)


@pages.post("/review/decide", Role.REVIEWER)
async def decide(visit: Visit) -> Response:
    """Accept, correct or skip what is held; then the next item."""
    which, engine = wish_of(visit), visit.site.engine
    action, note = visit.text("action"), visit.text("note")
    chosen = visit.text("chosen").strip() if action == "choose" else visit.text("label").strip()
    if action == "choose" and not chosen:
        return await _shown(visit, which, problem=visit.words("Choose a label first."), chosen=chosen)
    try:
        review_id = _review_id(visit)
        if action == "skip":
            await asyncio.to_thread(reviews.skip, engine, review_id, visit.who, note=note)
        else:
            await asyncio.to_thread(
                reviews.decide, engine, review_id, visit.who, None if action == "accept" else chosen, note=note,
                same_for_copies=bool(visit.text("same")),
            )  # fmt: skip
    except ReviewError as error:
        return await _shown(visit, which, problem=_why(visit, error), chosen=chosen)
    taken = await _claim(visit, which)
    return await _answer(visit, which, is_used_up=not taken)


@pages.post("/review/undo", Role.REVIEWER)
async def undo(visit: Visit) -> Response:
    """Take back the last decision."""
    which, site = wish_of(visit), visit.site
    try:
        undone = await asyncio.to_thread(review_undo.undo, site.engine, site.settings, visit.who, which.task)
    except ReviewError as error:
        return await _shown(visit, which, problem=_why(visit, error))
    if undone is None:
        return await _shown(visit, which, said=visit.words("There is nothing of yours to undo."))
    said = [visit.words("Undone. The item is with you again.")]
    if undone.moved_by:
        said.append(
            visit.words(
                "The ticket stays with %(team)s: %(who)s has moved it since.", team=undone.team, who=undone.moved_by
            )
        )
    # An undone item may not fit the wish: it is shown nevertheless.
    return await _shown(visit, Which(which.task), said=" ".join(said))


@pages.post("/review/release", Role.REVIEWER)
async def release(visit: Visit) -> Response:
    """Give the item back."""
    which = wish_of(visit)
    await asyncio.to_thread(review_queue.release, visit.site.engine, visit.who, _review_id(visit))
    return await _answer(visit, which)


@pages.post("/review/leave", Role.REVIEWER)
async def leave(visit: Visit) -> Response:
    """The browser leaves the page: others may take the item over. Sent by navigator.sendBeacon."""
    site = visit.site
    await asyncio.to_thread(review_queue.lapse, site.engine, site.settings, visit.who, _review_id(visit))
    return Response(status_code=204)


@pages.post("/review/keep", Role.REVIEWER)
async def keep(visit: Visit) -> Response:
    """The browser is on the page again. Whether the claim was lost is said when it is decided."""
    await asyncio.to_thread(review_queue.keep, visit.site.engine, visit.who, _review_id(visit))
    return Response(status_code=204)


@pages.post("/review/example", Role.REVIEWER)
async def example(visit: Visit) -> Response:
    """Make a decided ticket an example of its team, or take the example out again."""
    which = wish_of(visit)
    change = review_examples.remove_example if visit.text("action") == "remove" else review_examples.add_example
    try:
        applied = await asyncio.to_thread(change, visit.site.engine, _review_id(visit), visit.who)
    except (ReviewError, LabelsError) as error:
        return await _shown(visit, which, problem=_why(visit, error))
    if applied.changes:
        said = visit.words(
            "Route set %(name)s has version %(version)s now; workers use it in a few seconds.",
            name=applied.name, version=applied.version,
        )  # fmt: skip
    else:
        said = visit.words(
            "Nothing has changed: version %(version)s of route set %(name)s says so already.",
            name=applied.name, version=applied.version,
        )  # fmt: skip
    return await _shown(visit, which, said=said)


def _why(visit: Visit, error: FenliuError) -> str:
    why = said_of(error, visit.words) if isinstance(error, ReviewError) else str(error)
    return visit.words("This was not done: %(why)s", why=why)


def _review_id(visit: Visit) -> int:
    value = visit.text("review")
    if not (value.isascii() and value.isdigit()) or len(value) > 18:
        raise ReviewError("review: say which by its number")
    return int(value)


async def _claim(visit: Visit, which: Which) -> bool:
    site = visit.site
    return bool(await asyncio.to_thread(review_queue.claim, site.engine, site.settings, visit.who, which))


async def _answer(visit: Visit, which: Which, *, is_used_up: bool = False) -> Response:
    """After a form: the desk for htmx, else the page by its own address, so that loading it again repeats nothing."""
    if visit.is_htmx:
        return await _shown(visit, which, is_used_up=is_used_up)
    return visit.go("/review", **query_of(which), **({"none": "1"} if is_used_up else {}))


async def _shown(
    visit: Visit, which: Which, *, problem: str = "", said: str = "", chosen: str = "", is_used_up: bool = False
) -> Response:
    """`problem` stands beside the item, `said` above it."""
    values = await asyncio.to_thread(_values, visit, which)
    template = "review/desk.html" if visit.is_htmx else "review/page.html"
    status = 422 if problem and not visit.is_htmx else 200  # htmx would not show it
    is_used_up = is_used_up or visit.request.query_params.get("none") == "1"
    return visit.page(
        template, status, which=which, problem=problem, said=said, chosen=chosen, is_used_up=is_used_up,
        note=visit.text("note") if problem else "", most_note_chars=reviews.MAX_NOTE_CHARS,
        numbered=_NUMBERED_LABELS, **values,
    )  # fmt: skip


def _values(visit: Visit, which: Which) -> dict[str, Any]:
    site, who = visit.site, visit.who
    shown = review_queue.held(site.engine, site.settings, who, which)
    zone = zone_of(visit.zone)
    today = datetime.combine(datetime.now(zone).date(), time(), zone)
    return {
        "shown": shown,
        "last": review_undo.last(site.engine, who, which.task),
        "waiting": 0 if shown else review_queue.waiting(site.engine, site.settings, who, which),
        "today": review_history.count_since(site.engine, who, today.astimezone(UTC)),
        "sources": [] if visit.is_htmx else review_choices.sources(site.engine),
        "teams": [] if visit.is_htmx else review_choices.teams(site.engine),
    }
