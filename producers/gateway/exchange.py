"""One request and its answer: the request id, and the one layer around every request that logs and counts it.

Texts, keys and query strings are never logged.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Mapping
from typing import Any

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from producers.gateway.metrics import Metrics
from producers.gateway.problems import Kind, Problem, render
from producers.gateway.request_log import RequestLog

log: Any = structlog.get_logger("fenliu.gateway")

NO_ROUTE = "none"
CALLER_GONE = 499
"""Status in logs and metrics of a request whose caller left before the answer; nobody is sent it."""

_SANE_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
_IF_ANY = ("caller", "problem", "reason")
_QUIET_ROUTES = frozenset(["/healthz", "/readyz", "/metrics"])


class Exchange:
    """What is known of a request besides its body; kept in its ASGI scope under `exchange`."""

    __slots__ = ("caller", "headers", "problem", "reason", "request_id")

    def __init__(self, request_id: bytes) -> None:
        self.request_id = request_id
        self.headers: list[tuple[bytes, bytes]] = []
        self.problem: str = ""
        self.caller: str = ""
        self.reason: str = ""


def exchange_of(scope: Any) -> Exchange:
    """The exchange of a request, given its ASGI scope."""
    found: Exchange = scope["exchange"]
    return found


class Exchanges:
    """ASGI: gives every request its id, counts and logs it, and answers what nobody expected."""

    def __init__(self, app: ASGIApp, metrics: Metrics, request_log: RequestLog, templates: Mapping[Any, str]) -> None:
        """`templates`: paths, with names for what varies, of endpoints whose routes do not put themselves into the
        scope."""
        self._app = app
        self._templates = templates
        self._metrics = metrics
        self._log = request_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = scope["exchange"] = Exchange(_request_id(scope["headers"]))
        status = CALLER_GONE
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                status, started = message["status"], True
                message["headers"] = [
                    *message["headers"], (b"x-request-id", exchange.request_id), *exchange.headers,
                ]  # fmt: skip
            await send(message)

        self._metrics.in_flight.inc()
        begun_s = time.perf_counter()
        try:
            await self._app(scope, receive, send_with_id)
        except ClientDisconnect:
            pass  # nobody is there to be answered
        except Exception:
            if started:
                raise
            log.exception("request_failed", request_id=exchange.request_id.decode())
            answer = render(Problem(Kind.INTERNAL, "this is our fault; the log has the reason"), exchange)
            await answer(scope, receive, send_with_id)
        finally:
            self._metrics.in_flight.dec()
            self._note(scope, exchange, status, time.perf_counter() - begun_s)

    def _note(self, scope: Scope, exchange: Exchange, status: int, seconds: float) -> None:
        route = scope.get("route")
        template = route.path_format if route else self._templates.get(scope.get("endpoint"), NO_ROUTE)
        self._metrics.observe(scope["method"], template, status, exchange.problem, seconds)
        self._log.write(
            logging.DEBUG if template in _QUIET_ROUTES else logging.INFO,
            {
                "request_id": exchange.request_id.decode(),
                "method": scope["method"],
                "route": template,
                "status": status,
                "ms": round(seconds * 1000, 1),
                **{name: value for name in _IF_ANY if (value := getattr(exchange, name))},
            },
        )


def _request_id(headers: list[tuple[bytes, bytes]]) -> bytes:
    """The caller's own id if it is sane, else a new one."""
    for name, value in headers:
        if name == b"x-request-id" and _SANE_ID.fullmatch(value):
            return value
    return os.urandom(12).hex().encode()
