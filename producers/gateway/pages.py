"""What the gateway serves beside its API without knowing it: somebody else's routes, opened and closed with it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from starlette.applications import Starlette
from starlette.routing import BaseRoute

from producers.async_client import AsyncClient
from schemas.settings import Settings


class Pages(Protocol):
    """`dashboard.app.WebPages` under `fenliu serve`."""

    @property
    def routes(self) -> Sequence[BaseRoute]:
        """Matched after those of the API."""

    def opened(self, app: Starlette, settings: Settings, client: AsyncClient) -> AbstractAsyncContextManager[None]:
        """What they need, for as long as `app` runs; `client` stays the gateway's."""
