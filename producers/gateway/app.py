"""The application: routes, errors and the layer around them, put together. Making it opens nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from importlib import metadata
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.routing import Route

from producers.gateway import docs, health, items, legacy, predict
from producers.gateway.exchange import Exchanges
from producers.gateway.gateway import opened
from producers.gateway.metrics import Metrics
from producers.gateway.pages import Pages
from producers.gateway.problems import Problem, on_problem
from producers.gateway.request_log import RequestLog
from schemas.errors import FenliuError
from schemas.settings import Settings


def create_app(settings: Settings, pages: Pages | None = None) -> FastAPI:
    """The REST API, and `pages` beside it, on the servers that `settings` name; both URLs must be set."""
    measured = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with opened(settings, measured) as gateway:
            app.state.gateway = gateway
            async with pages.opened(app, settings, gateway.client) if pages else nullcontext():
                yield

    app = FastAPI(
        title="Fenliu",
        version=metadata.version("fenliu"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # /metrics and the log say it already
    )
    # Most used first: routes are tried in order. Added one by one, since a router inside a router is slower to match.
    for router in (predict.router, legacy.router, items.router, health.router, docs.router):
        app.router.routes.extend(router.routes)
    app.router.routes.extend(pages.routes if pages else ())
    for error in (Problem, FenliuError, HTTPException):
        app.add_exception_handler(error, on_problem)
    app.state.metrics = measured
    exchanges: Any = Exchanges
    # Those of FastAPI say themselves which they are.
    templates = {route.endpoint: route.path_format for route in app.routes if isinstance(route, Route)}
    app.add_middleware(exchanges, metrics=measured, request_log=RequestLog(settings), templates=templates)
    return app
