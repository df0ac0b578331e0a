"""Who asks, whether they may, and whether not too often. Called before anything of a body is read."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from starlette.requests import Request

from producers.gateway.exchange import exchange_of
from producers.gateway.problems import Kind, Problem

if TYPE_CHECKING:
    from producers.gateway.gateway import Gateway
    from worker.desk.keys import Keyholder, Scope

_BEARER = b"bearer "
_REALM = 'Bearer realm="fenliu"'


async def admit(request: Request, gateway: Gateway, scope: Scope) -> None:
    """Let the request go on. Raises Problem: 401 no good key, 403 not this, 429 too often.

    Raises DatabaseUnavailableError and InboxUnavailableError where that cannot be told.
    """
    holder = await _holder(request, gateway)
    exchange = exchange_of(request.scope)
    if holder is not None:
        exchange.caller = f"key:{holder.id}"
        if scope.value not in holder.scopes:
            raise Problem(
                Kind.FORBIDDEN,
                f"this key lacks the scope {scope.value}; make one with `fenliu keys create --scope {scope.value}`",
                headers={"WWW-Authenticate": f'{_REALM}, error="insufficient_scope", scope="{scope.value}"'},
            )
    per_minute = gateway.settings.http_rate_per_minute
    if holder is not None and holder.rate_per_minute is not None:
        per_minute = holder.rate_per_minute
    if not per_minute:
        return
    standing = await gateway.rates.take(exchange.caller or f"address:{_address(request)}", per_minute)
    exchange.headers += standing.headers()
    if not standing.allowed:
        raise Problem(
            Kind.RATE_LIMITED,
            f"{per_minute} requests a minute are allowed; wait {standing.wait_s} s, or send several texts in one",
            retry_after_s=standing.wait_s,
        )


async def _holder(request: Request, gateway: Gateway) -> Keyholder | None:
    """Whose key the request carries; None only while no key was ever made."""
    if await gateway.keys.is_open():
        return None
    secret = _secret(request)
    if secret is None:
        raise Problem(
            Kind.UNAUTHORIZED,
            "send an API key in the header Authorization: Bearer flk_…, or X-API-Key; `fenliu keys create` makes one",
            headers={"WWW-Authenticate": _REALM},
        )
    holder = await gateway.keys.holder(secret)
    if holder is None:
        raise Problem(
            Kind.UNAUTHORIZED,
            "this API key is unknown, expired or revoked",
            headers={"WWW-Authenticate": f'{_REALM}, error="invalid_token"'},
        )
    return holder


def _secret(request: Request) -> str | None:
    """The key that the request carries; Authorization goes before X-API-Key."""
    found = None
    for name, value in request.scope["headers"]:
        if name == b"authorization" and value[: len(_BEARER)].lower() == _BEARER:
            return str(value[len(_BEARER) :].decode("latin-1").strip())
        if name == b"x-api-key":
            found = str(value.decode("latin-1").strip())
    return found


def _address(request: Request) -> str:
    """The caller's address; of IPv6 the /64, which is what one customer has."""
    client = request.scope.get("client")
    host = client[0] if client else "unknown"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return str(host)[:64]
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network(f"{address.compressed.partition('%')[0]}/64", strict=False).network_address)
