"""What every page of one process shares, opened and closed with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import Engine

from dashboard.access.gate import Gate
from dashboard.reader import make_reader
from producers.async_client import AsyncClient
from schemas.database import make_engine
from schemas.settings import Settings

_STATEMENT_TIMEOUT_S = 15
_REDIS_TIMEOUT_S = 2.0
_THREADS = 32
"""For what blocks: enough that pages which wait for Postgres do not keep logins or the API waiting."""


@dataclass(frozen=True, slots=True)
class Site:
    """Settings and connections.

    `client` classifies through the inbox. `engine` is for what people do (`worker.desk`), `reader` for plots: it
    reads the views named `dash_*` and can do nothing else. `server` answers in bytes; both it and the engines block,
    so handlers use them in threads. `gate` knows who may come in.
    """

    settings: Settings
    client: AsyncClient
    engine: Engine
    reader: Engine
    server: redis.Redis
    gate: Gate


@asynccontextmanager
async def opened(settings: Settings, client: AsyncClient) -> AsyncIterator[Site]:
    """A site; nothing is connected before it is needed. `settings` must have both URLs; `client` stays the caller's."""
    engine = make_engine(settings, statement_timeout_s=_STATEMENT_TIMEOUT_S)
    reader = make_reader(settings, statement_timeout_s=_STATEMENT_TIMEOUT_S)
    # Threads wait here and do not compute, so the number of CPUs, which is asyncio's measure, is not theirs.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS, "fenliu-pages"))
    # Tried once more, at once, for connections that have died of old age; not after a timeout, since people wait.
    server = redis.Redis.from_url(
        settings.redis_url,
        socket_timeout=_REDIS_TIMEOUT_S,
        socket_connect_timeout=_REDIS_TIMEOUT_S,
        retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
    )
    try:
        yield Site(settings, client, engine, reader, server, Gate(engine, settings))
    finally:
        server.close()
        reader.dispose()
        engine.dispose()
