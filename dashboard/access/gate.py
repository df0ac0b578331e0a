"""Who asks, by the browser's secret; and what becomes of those who may not come in.

While no user exists, pages are open to the machine that serves them and to nobody else. That is looked up with every
request until the first user is made, and then never again: the last admin cannot be removed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Engine
from starlette.requests import Request
from starlette.responses import Response

from dashboard.access import cookies, paths
from dashboard.access.origin import is_local
from dashboard.access.person import Person
from dashboard.problems import Refusal
from dashboard.words import later
from schemas.errors import DatabaseUnavailableError
from schemas.names import Role
from schemas.settings import Settings
from worker.desk import sessions
from worker.desk.users import LOCAL

if TYPE_CHECKING:
    from dashboard.visit import Visit

_AT_ONCE = 2
_TURN_WAIT_S = 10.0
_DATABASE_WAIT_S = 5.0
_TURN_S = 15.0


class Gate:
    """Decides who comes in."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._is_open = True
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self.idle = timedelta(hours=settings.session_hours)

    @property
    def is_open(self) -> bool:
        """Whether no user existed at the last look."""
        return self._is_open

    async def person(self, request: Request, secret: str) -> Person | None:
        """Who asks; None if nobody has logged in. Raises DatabaseUnavailableError."""
        if not self._is_open and cookies.sent_secret(request) is None:
            return None
        async with _within(_DATABASE_WAIT_S):
            standing = await asyncio.to_thread(sessions.look_up, self._engine, secret, self.idle)
        if standing.any_user:
            self._is_open = False
        if standing.holder is not None:
            return Person(standing.holder.name, standing.holder.role)
        return Person(LOCAL, Role.ADMIN, is_local=True) if self._is_open and is_local(request) else None

    def turn_away(self, visit: Visit) -> Response:
        """What somebody gets who has not logged in: the login, which leads back. Nobody can log in while it is open."""
        if self._is_open:
            return self.closed(visit)
        return visit.go("/login", next=paths.way_back(visit))

    def closed(self, visit: Visit) -> Response:
        """For those who come from another machine before the first user exists."""
        message = visit.words("These pages are open to the machine that serves them alone until there is a user.")
        template = "error_part.html" if visit.is_htmx else "access/closed.html"
        return visit.page(template, 403, code=403, message=message)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for one of two places to work with passwords, each of which takes 64 MiB.

        Raises Refusal 503, and DatabaseUnavailableError if the work takes far too long.
        """
        try:
            async with asyncio.timeout(_TURN_WAIT_S):
                await self._turns.acquire()
        except TimeoutError:
            raise Refusal(503, later("Too many people log in at this moment. Try again shortly.")) from None
        try:
            async with _within(_TURN_S):
                yield
        finally:
            self._turns.release()


@asynccontextmanager
async def _within(seconds: float) -> AsyncIterator[None]:
    """Give up on a database that takes connections and then says nothing; no timeout of the driver's sees that."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise DatabaseUnavailableError(f"no answer within {seconds:g} s") from None
