"""Whether a text could be classified now: Redis and Postgres answer, and a worker has a heartbeat."""

from __future__ import annotations

import asyncio
import time

import redis
import redis.asyncio
from sqlalchemy import Engine, text

from schemas.database import translated
from schemas.errors import DatabaseUnavailableError
from schemas.names import Keys

OK = "ok"
_TIMEOUT_S = 3.0
_KEPT_S = 0.5


class Readiness:
    """The three checks. A result is kept for a moment, so that probes cost little however many there are."""

    def __init__(self, server: redis.asyncio.Redis, engine: Engine, keys: Keys) -> None:
        self._server = server
        self._engine = engine
        self._keys = keys
        self._lock = asyncio.Lock()
        self._checks: dict[str, str] = {}
        self._checked_at_s = float("-inf")

    async def checks(self) -> dict[str, str]:
        """`redis`, `database` and `worker`: "ok", or what is wrong."""
        async with self._lock:
            if time.monotonic() - self._checked_at_s > _KEPT_S:
                (answers, worker), database = await asyncio.gather(self._redis_and_worker(), self._database())
                self._checks = {"redis": answers, "database": database, "worker": worker}
                self._checked_at_s = time.monotonic()
            return self._checks

    async def _redis_and_worker(self) -> tuple[str, str]:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                async for _ in self._server.scan_iter(match=f"{self._keys.worker_prefix}*", count=1000):
                    return OK, OK
        except (redis.RedisError, OSError, TimeoutError):
            return "does not answer", "cannot be told without Redis"
        return OK, "no worker has a heartbeat"

    async def _database(self) -> str:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                await asyncio.to_thread(self._ask_database)
        except (DatabaseUnavailableError, TimeoutError):
            return "does not answer"
        return OK

    def _ask_database(self) -> None:
        with translated(), self._engine.connect() as connection:
            connection.execute(text("SELECT 1"))
