"""The dashboard: plots of the views named `dash_*`, and how the inboxes stand now."""

from __future__ import annotations

from starlette.responses import Response

from dashboard.pages import Pages
from dashboard.visit import Visit
from schemas.names import Role

pages = Pages()


@pages.get("/dashboard", Role.VIEWER)
async def overview(visit: Visit) -> Response:
    """The page."""
    return visit.page("overview/page.html")
