"""The pages put together, for the gateway to serve beside its API. Making them opens nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route

from dashboard import assets
from dashboard.access.pages import pages as access
from dashboard.dead_letters.pages import pages as dead_letters
from dashboard.overview.pages import pages as overview
from dashboard.pages import LostRoute, home
from dashboard.quality.pages import pages as quality
from dashboard.review.pages import pages as review
from dashboard.site import opened
from dashboard.trial.pages import pages as trial
from producers.async_client import AsyncClient
from schemas.settings import Settings


class WebPages:
    """Every page: its routes, and what they share."""

    routes: Sequence[BaseRoute] = (
        Route("/", home, methods=["GET"]),
        *(route for each in (trial, overview, review, quality, dead_letters, access) for route in each.routes),
        *assets.routes,
        LostRoute(),
    )

    @asynccontextmanager
    async def opened(self, app: Starlette, settings: Settings, client: AsyncClient) -> AsyncIterator[None]:
        """Connect them to `app` as long as it runs."""
        async with opened(settings, client) as site:
            app.state.site = site
            yield


def create_pages() -> WebPages:
    """The pages, as `fenliu serve` is given them."""
    return WebPages()
