"""Dead letters: what could not be classified, to read, mend, replay or drop."""

from __future__ import annotations

from starlette.responses import Response

from dashboard.pages import Pages
from dashboard.visit import Visit
from schemas.names import Role

pages = Pages()


@pages.get("/dead-letters", Role.REVIEWER)
async def dead_letters(visit: Visit) -> Response:
    """The page."""
    return visit.page("dead_letters/page.html")
