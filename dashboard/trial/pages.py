"""Try it: a text or a file in, labels and scores out, through the inbox as in production."""

from __future__ import annotations

from starlette.responses import Response

from dashboard.pages import Pages
from dashboard.visit import Visit
from schemas.names import Role

pages = Pages()


@pages.get("/try", Role.VIEWER)
async def try_page(visit: Visit) -> Response:
    """The page."""
    return visit.page("trial/page.html")
