"""Quality: how right the results are by what reviewers said, and whether they drift."""

from __future__ import annotations

from starlette.responses import Response

from dashboard.pages import Pages
from dashboard.visit import Visit
from schemas.names import Role

pages = Pages()


@pages.get("/quality", Role.VIEWER)
async def quality(visit: Visit) -> Response:
    """The page."""
    return visit.page("quality/page.html")
