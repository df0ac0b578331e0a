"""Which URLs and addresses a webhook may call: what stands on the public internet, and nothing behind our door.

A name is checked where it is connected to (`worker.relay.guard`), since it may resolve to something else each time.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from schemas.errors import WebhookError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_MOST_CHARS = 2_048
_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9.])?")

# Metadata services hand out a machine's credentials: refused even where private addresses are allowed.
_METADATA = frozenset(
    ipaddress.ip_address(each)
    for each in ("169.254.169.254", "169.254.170.2", "169.254.170.23", "100.100.100.200", "168.63.129.16",
                 "192.0.0.192", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254")
)  # fmt: skip

# RFC 6890 and the IANA registries of special-purpose addresses. Spelled out, since what `ipaddress` calls global
# has changed between releases of Python.
_SPECIAL = tuple(
    ipaddress.ip_network(each)
    for each in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16",
        "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        "2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20",
    )
)  # fmt: skip
_GLOBAL_UNICAST_V6 = ipaddress.ip_network("2000::/3")
"""All of IPv6 outside of it is local, reserved, or an IPv4 address in disguise (mapped, translated, compatible)."""
_DISGUISES = tuple(ipaddress.ip_network(each) for each in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96"))
"""Networks whose last 32 bits are an IPv4 address that is reached through them (RFC 4291, 2765, 6052)."""
_NOT_PUBLIC = "is no public address"


@dataclass(frozen=True, slots=True)
class Target:
    """A webhook's URL in the parts that are called."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """Host and port as the Host header has them."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == _DEFAULT_PORTS[self.scheme] else f"{name}:{self.port}"


def target_of(url: str) -> Target:
    """`url` in parts. Raises WebhookError that says what is wrong with it; never shows the URL itself."""
    if len(url) > _MOST_CHARS:
        raise WebhookError(f"the URL is longer than {_MOST_CHARS} characters")
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise WebhookError("the URL may hold printable ASCII only; write the rest percent-encoded or as xn--")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise WebhookError(f"the URL cannot be read: {error}") from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise WebhookError("the URL must start with https:// or http://")
    if "@" in parts.netloc:
        raise WebhookError("the URL must hold no user name or password; calls are signed instead")
    if parts.fragment:
        raise WebhookError("the URL must hold no #fragment")
    host = parts.hostname or ""
    if not (_HOST.fullmatch(host) or _is_v6(host)):
        raise WebhookError("the URL names no host")
    if port == 0:
        raise WebhookError("the URL's port must be 1 to 65535")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port or _DEFAULT_PORTS[parts.scheme], path)


def refusal(address: Address, *, allow_private: bool) -> str | None:
    """Why `address` may not be called; None if it may."""
    inner = _undisguised(address)
    if inner in _METADATA:
        return "is a metadata service"
    if inner.is_multicast or inner.is_unspecified or address.is_multicast:
        return "is no address of one machine"
    if allow_private:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST_V6:
        return _NOT_PUBLIC
    if any(address in network for network in _SPECIAL) or not address.is_global:
        return _NOT_PUBLIC
    return None


def allowed(host: str, addresses: Iterable[str], *, allow_private: bool) -> Sequence[str]:
    """Those of the resolved `addresses` of `host` that may be called, in order.

    Raises WebhookError when none may.
    """
    reasons = {}
    may = []
    for each in addresses:
        reason = refusal(ipaddress.ip_address(each), allow_private=allow_private)
        if reason is None:
            may.append(each)
        else:
            reasons[each] = reason
    if may:
        return may
    if not reasons:
        raise WebhookError(f"{host} does not resolve to any address")
    told = ", ".join(f"{each} {reason}" for each, reason in reasons.items())
    helps = not allow_private and any(
        refusal(ipaddress.ip_address(each), allow_private=True) is None for each in reasons
    )
    hint = " (FENLIU_WEBHOOK_ALLOW_PRIVATE=true allows private ones)" if helps else ""
    raise WebhookError(f"{host} may not be called: {told}{hint}")


def _undisguised(address: Address) -> Address:
    """The IPv4 address that an IPv6 one leads to, else itself without its zone."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    bare = ipaddress.IPv6Address(int(address))
    if int(bare) > 1 and any(bare in network for network in _DISGUISES):  # not :: and ::1
        return ipaddress.IPv4Address(int(bare) & 0xFFFFFFFF)
    return bare.sixtofour or bare


def shown(url: str) -> str:
    """`url` as it may be printed: what its query says can be a token."""
    return urlsplit(url)._replace(query="****").geturl() if "?" in url else url


def _is_v6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False
