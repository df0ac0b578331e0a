"""What every request of one gateway process shares, opened and closed with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import redis
import redis.asyncio
from sqlalchemy import Engine
from starlette.requests import Request

from producers.async_client import AsyncClient
from producers.gateway.gauges import Gauges
from producers.gateway.keys import KeyRing
from producers.gateway.metrics import Metrics
from producers.gateway.rate import Rates
from producers.gateway.readiness import Readiness
from schemas.database import make_engine
from schemas.settings import Settings
from worker.desk import gauges
from worker.desk import keys as desk

_REDIS_TIMEOUT_S = 2.0
_STATEMENT_TIMEOUT_S = 5


@dataclass(frozen=True, slots=True)
class Gateway:
    """Settings and connections. `client` waits for replies on a stream of this process' own."""

    settings: Settings
    metrics: Metrics
    client: AsyncClient
    engine: Engine
    keys: KeyRing
    rates: Rates
    readiness: Readiness
    gauges: Gauges


@asynccontextmanager
async def opened(settings: Settings, metrics: Metrics) -> AsyncIterator[Gateway]:
    """A gateway; nothing is connected before it is needed. `settings` must have both URLs."""
    engine = make_engine(settings, statement_timeout_s=_STATEMENT_TIMEOUT_S)
    server = redis.asyncio.Redis.from_url(
        settings.redis_url, socket_timeout=_REDIS_TIMEOUT_S, socket_connect_timeout=_REDIS_TIMEOUT_S
    )
    blocking = redis.Redis.from_url(
        settings.redis_url, socket_timeout=_REDIS_TIMEOUT_S, socket_connect_timeout=_REDIS_TIMEOUT_S, retry=None
    )
    keys = KeyRing(partial(desk.holders, engine))
    try:
        async with AsyncClient.from_settings(settings) as client:
            yield Gateway(
                settings, metrics, client, engine, keys, Rates(server, settings.keys),
                Readiness(server, engine, settings.keys), Gauges(gauges.parts(engine, blocking, settings.keys)),
            )  # fmt: skip
        await keys.close()
    finally:
        await server.aclose()
        blocking.close()
        engine.dispose()


def gateway_of(request: Request) -> Gateway:
    """The gateway that serves this request."""
    found: Gateway = request.scope["app"].state.gateway
    return found
