"""The dashboard: plots of the views named `dash_*`, and how the inboxes stand now."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.responses import Response

from dashboard.overview.board import look, window_now
from dashboard.overview.filters import Filters, parsed
from dashboard.overview.live import look_live
from dashboard.overview.plots import PLOTS
from dashboard.overview.sql import ask
from dashboard.pages import Pages
from dashboard.problems import Refusal
from dashboard.sheet import to_csv
from dashboard.visit import Visit
from dashboard.words import later
from schemas.names import Role

pages = Pages()


@pages.get("/dashboard", Role.VIEWER)
async def overview(visit: Visit) -> Response:
    """The page; for htmx what depends on the filters alone."""
    viewers_zone, filters, wrong = _asked(visit)
    board, live = await asyncio.gather(
        look(visit.site.reader, filters, viewers_zone, visit.words), look_live(visit.site)
    )
    values: dict[str, Any] = {
        "board": board,
        "live": live,
        "filters": filters,
        "wrong": wrong,
        "viewers_zone": viewers_zone,
    }
    if not visit.is_htmx:
        return visit.page("overview/page.html", **values)
    address = visit.url("/dashboard", **filters.query())
    is_new = not visit.request.headers.get("hx-current-url", "").endswith(address)
    return visit.page("overview/board.html", headers={"HX-Push-Url": address} if is_new else {}, **values)


@pages.get("/dashboard/live", Role.VIEWER)
async def live(visit: Visit) -> Response:
    """The part of the page that is asked for every few seconds."""
    return visit.page("overview/live.html", live=await look_live(visit.site))


@pages.get("/dashboard/{plot}.csv", Role.VIEWER)
async def csv(visit: Visit) -> Response:
    """The rows of a plot."""
    plot = PLOTS.get(visit.request.path_params["plot"])
    if plot is None:
        raise Refusal(404, later("There is no such plot."))
    viewers_zone, filters, wrong = _asked(visit)
    if wrong:
        raise Refusal(422, next(iter(wrong.values())))
    window, _ = await window_now(visit.site.reader, filters, viewers_zone)
    answer = await asyncio.to_thread(ask, visit.site.reader, plot.statement, window.parameters)
    headers = {"Content-Disposition": f'attachment; filename="fenliu-{plot.name}.csv"'}
    return Response(to_csv(answer.columns, answer.rows), media_type="text/csv; charset=utf-8", headers=headers)


def _asked(visit: Visit) -> tuple[str, Filters, dict[str, str]]:
    """The viewer's zone, the filters of the URL, and what is wrong with them."""
    return visit.zone, *parsed(visit.request.query_params, visit.zone)
