"""Who asks, by the browser's secret; and what becomes of those who may not come in.

While no user exists, pages are open to the machine that serves them and to nobody else.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import quote

from sqlalchemy import Engine
from starlette.requests import Request
from starlette.responses import Response

from dashboard.access.person import Person
from schemas.names import Role
from schemas.settings import Settings

if TYPE_CHECKING:
    from dashboard.visit import Visit

_LOCAL_NAMES = frozenset(["localhost", "127.0.0.1", "[::1]"])
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "x-forwarded-host")


class Gate:
    """Decides who comes in."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings

    async def person(self, request: Request, secret: str) -> Person | None:  # noqa: ARG002 - of sessions, soon
        """Who asks; None if nobody has logged in. Raises DatabaseUnavailableError."""
        return Person("local", Role.ADMIN, is_local=True) if is_local(request) else None

    def turn_away(self, visit: Visit) -> Response:
        """What somebody gets who has not logged in."""
        return visit.go("/login", next=quote(visit.request.url.path))


def is_local(request: Request) -> bool:
    """Whether a request comes from this machine, addressed to it, and through no proxy.

    The name it is addressed to matters: a foreign page can make a browser call this machine under a name of its own.
    """
    client = request.client.host if request.client else ""
    try:
        is_loopback = ipaddress.ip_address(client).is_loopback
    except ValueError:
        is_loopback = False
    host, _, port = request.headers.get("host", "").rpartition(":")
    name = host if host and port.isdigit() else request.headers.get("host", "")
    return is_loopback and name in _LOCAL_NAMES and not any(header in request.headers for header in _FORWARDED)
