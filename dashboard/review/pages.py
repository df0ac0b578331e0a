"""The review queue: people say whether results are right, and correct them."""

from __future__ import annotations

from starlette.responses import Response

from dashboard.pages import Pages
from dashboard.visit import Visit
from schemas.names import Role

pages = Pages()


@pages.get("/review", Role.REVIEWER)
async def review(visit: Visit) -> Response:
    """The page."""
    return visit.page("review/page.html")
