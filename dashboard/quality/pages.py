"""Quality: how right the results are by what reviewers said, and whether they drift."""

from __future__ import annotations

import asyncio

from starlette.responses import Response

from dashboard.pages import Pages
from dashboard.quality import asking
from dashboard.quality.view import chosen_task, read_view
from dashboard.visit import Visit
from schemas.errors import FenliuError
from schemas.names import Role
from worker.desk import quality as desk

pages = Pages()


@pages.get("/quality", Role.VIEWER)
async def quality(visit: Visit) -> Response:
    """The page: of one task, on one kind of data."""
    query = visit.request.query_params
    view = await asyncio.to_thread(read_view, visit, query.get("task", ""), query.get("data", ""))
    return visit.page("quality/page.html", view=view)


@pages.post("/quality/measure", Role.REVIEWER)
async def measure(visit: Visit) -> Response:
    """Measure everything now: the starter set where it is missing, then what is measured every night."""
    problem = await _ask(visit)
    await asyncio.to_thread(desk.evaluate, visit.site.engine, visit.site.settings)
    return _back(visit, **({"problem": "starter"} if problem else {}))


@pages.post("/quality/starter", Role.REVIEWER)
async def starter(visit: Visit) -> Response:
    """Measure the starter set where it is missing; htmx asks for this when the page is opened, and again."""
    problem = await _ask(visit)
    if problem and visit.is_htmx:
        return visit.page("quality/asking.html", problem=problem, task=chosen_task(str(visit.form.get("task", ""))))
    return _back(visit)


async def _ask(visit: Visit) -> str:
    """What went wrong, or nothing."""
    try:
        return await asking.measure_starter(visit.site)
    except FenliuError as error:
        return str(error)


def _back(visit: Visit, **query: str) -> Response:
    return visit.go("/quality", task=chosen_task(str(visit.form.get("task", ""))).value, **query)
