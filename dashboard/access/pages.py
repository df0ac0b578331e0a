"""Logging in and out, and the users that an administrator keeps."""

from __future__ import annotations

from starlette.responses import Response

from dashboard.pages import Pages
from dashboard.visit import Visit

pages = Pages()


@pages.get("/login", None)
async def login(visit: Visit) -> Response:
    """The form."""
    return visit.page("access/login.html")
