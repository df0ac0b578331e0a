"""One call of a webhook: a signed POST, its time bounded, and what became of it.

When to call again is `worker.relay.receivers`'; which addresses may be called, `worker.relay.guard`'s.
"""

from __future__ import annotations

import asyncio
import email.utils
import ssl
import time
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Any

import httpcore2

from schemas.errors import WebhookError
from schemas.names import DeliveryState
from schemas.settings import Settings
from schemas.signature import HEADER, sign
from worker.relay.address import target_of
from worker.relay.guard import Guard, Resolve

_MOST_ANSWER_BYTES = 65_536
_KEEPALIVE_S = 4.0  # less than the five seconds after which many servers close
_GONE = 410
_ASKS_TO_WAIT = frozenset([429, 503])


@dataclass(frozen=True, slots=True)
class Call:
    """What to post where. `key` stays the same over all tries of a delivery."""

    url: str
    secret: str
    key: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a call. `state` is waiting if it should be tried again."""

    state: DeliveryState
    status_code: int | None = None
    error: str | None = None
    retry_after_s: float | None = None


class Caller:
    """Makes calls on the running event loop. Close it there, too."""

    def __init__(
        self, settings: Settings, *, resolve: Resolve | None = None, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        self._timeout_s = settings.webhook_timeout_s
        # Straight on the connection pool: no redirects, no proxies, no cookies, nothing from the environment.
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=ssl_context or ssl.create_default_context(),
            network_backend=Guard(allow_private=settings.webhook_allow_private, resolve=resolve),
            max_connections=None,
            max_keepalive_connections=32,
            keepalive_expiry=_KEEPALIVE_S,
        )

    async def call(self, call: Call) -> Answer:
        """Post it. Whatever the receiver or the network does is an answer, within webhook_timeout_s.

        The status decides: how the rest of an answer fares changes nothing any more.
        """
        decided: list[Answer] = []
        try:
            # One bound for all of it: a receiver that sends a byte now and then must not hold a call for ever.
            async with asyncio.timeout(self._timeout_s):
                await self._post(call, decided)
        except (TimeoutError, httpcore2.TimeoutException):
            failure = _failure(f"no answer within {self._timeout_s:g} s")
        except WebhookError as error:
            failure = _failure(str(error))
        except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
            failure = _failure(f"{type(error).__name__}: {error}")
        except OSError as error:  # TLS that cannot be agreed on, too
            failure = _failure(f"{type(error).__name__}: {error.strerror or error}")
        return decided[0] if decided else failure

    async def close(self) -> None:
        """Close what connections are left."""
        await self._pool.aclose()

    async def _post(self, call: Call, decided: list[Answer]) -> None:
        target = target_of(call.url)
        url = httpcore2.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
        headers = [
            ("Host", target.authority),
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(call.body))),
            ("User-Agent", user_agent()),
            ("Idempotency-Key", call.key),
            ("X-Fenliu-Delivery", call.key),
            (HEADER, sign(call.secret, call.body, int(time.time()))),
        ]
        async with self._pool.stream("POST", url, headers=headers, content=call.body) as response:
            decided.append(_judged(response.status, _header(response, b"retry-after")))
            # A short answer is read to its end, so that the connection can be used again.
            size_bytes = 0
            async for chunk in response.aiter_stream():
                size_bytes += len(chunk)
                if size_bytes > _MOST_ANSWER_BYTES:
                    return


def _judged(status_code: int, retry_after: str | None) -> Answer:
    if 200 <= status_code < 300:
        return Answer(DeliveryState.DELIVERED, status_code)
    if status_code == _GONE:
        return Answer(DeliveryState.FAILED, status_code, "410: the receiver is gone for good")
    if 300 <= status_code < 400:
        return _failure(f"{status_code}: redirects are not followed; give the final URL", status_code)
    wait_s = _seconds(retry_after) if retry_after and status_code in _ASKS_TO_WAIT else None
    return _failure(f"the receiver answered {status_code}", status_code, wait_s)


def _failure(error: str, status_code: int | None = None, retry_after_s: float | None = None) -> Answer:
    printable = "".join(each if each.isprintable() else "?" for each in error)
    return Answer(DeliveryState.WAITING, status_code, printable[:500], retry_after_s)


def _seconds(retry_after: str) -> float | None:
    """Retry-After, in seconds or as a date (RFC 9110, 10.2.3), as seconds from now."""
    value = retry_after.strip()
    if value.isdecimal() and value.isascii():
        return float(value[:12])
    try:
        moment = email.utils.parsedate_to_datetime(value)
        return max(0.0, moment.timestamp() - time.time())
    except (ValueError, OverflowError):  # no date, or one that no calendar has
        return None


def _header(response: httpcore2.Response, name: bytes) -> str | None:
    values: list[Any] = [value for key, value in response.headers if key.lower() == name]
    return values[0].decode("latin-1") if values else None


@cache
def user_agent() -> str:
    """Who calls."""
    try:
        return f"Fenliu/{metadata.version('fenliu')}"
    except metadata.PackageNotFoundError:  # run from the sources, not installed
        return "Fenliu"
