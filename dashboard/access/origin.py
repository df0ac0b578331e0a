"""Where a request comes from: this machine or another, this site's pages or foreign ones."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.requests import Request

_LOCAL_NAMES = frozenset(["localhost", "127.0.0.1", "[::1]"])
_FORWARDED = frozenset(["forwarded", "via", "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip"])


def is_local(request: Request) -> bool:
    """Whether a request comes from this machine, addressed to it, and through no proxy.

    The name it is addressed to matters: a foreign page can make a browser call this machine under a name of its own.
    No browser speaks HTTP/1.0, which some proxies do without another sign of themselves.
    """
    client = request.client.host if request.client else ""
    try:
        is_loopback = ipaddress.ip_address(client).is_loopback
    except ValueError:
        is_loopback = False
    is_forwarded = any(name in _FORWARDED or name.startswith("x-forwarded-") for name in request.headers)
    return (
        is_loopback
        and _host_name(request.headers.get("host", "")) in _LOCAL_NAMES
        and not is_forwarded
        and request.scope.get("http_version") != "1.0"
    )


def is_foreign(request: Request) -> bool:
    """Whether a browser says that a page of another site has sent this.

    The second line of defence behind CSRF tokens. Old browsers, and all over plain http, only tell the origin, whose
    name (ports differ behind proxies) must be the one they ask for.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site not in {"same-origin", "none"}
    origin = request.headers.get("origin")
    if origin is None:
        return False
    try:
        sender = urlsplit(origin).hostname or ""
    except ValueError:
        return True
    asked = {_host_name(request.headers.get(name, "")).strip("[]").lower() for name in ("host", "x-forwarded-host")}
    return sender not in asked - {""}


def address_of(request: Request) -> str:
    """The caller's address; of IPv6 the /64, which is what one customer has."""
    host = request.client.host if request.client else "unknown"
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host[:64]
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network(f"{address}/64", strict=False).network_address)


def _host_name(host: str) -> str:
    name, _, port = host.rpartition(":")
    return name if name and port.isdigit() else host
