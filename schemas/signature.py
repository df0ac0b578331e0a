"""How a call of a webhook is signed, and how its receiver tells that it is genuine. Standard library only.

The header `X-Fenliu-Signature` reads `t=<unix time>,v1=<hex>`, where the hex is HMAC-SHA256, keyed by the webhook's
secret as it was shown, of the time in decimal, a dot, and the body byte for byte.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time

HEADER = "X-Fenliu-Signature"

_TIME = re.compile(r"[0-9]{1,12}")


def new_secret() -> str:
    """A secret of 256 random bits."""
    return "whsec_" + secrets.token_urlsafe(32)


def sign(secret: str, body: bytes, at_s: int) -> str:
    """The header's value for `body`, signed at the unix time `at_s`."""
    return f"t={at_s},v1={_digest(secret, str(at_s), body)}"


def verify(secret: str, header: str, body: bytes, tolerance_s: float = 300, now_s: float | None = None) -> bool:
    """Whether `body` was signed with `secret`, no more than `tolerance_s` from now.

    `body` is the request's body as it arrived, before any parsing. False for whatever is malformed. Takes the same
    time wherever a signature differs.
    """
    parts = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in parts if name == "t"]
    if len(times) != 1 or not _TIME.fullmatch(times[0]):
        return False
    now = time.time() if now_s is None else now_s
    if abs(now - int(times[0])) > tolerance_s:
        return False
    expected = _digest(secret, times[0], body).encode()
    given = [value.encode(errors="replace") for name, _, value in parts if name == "v1"]
    return any(hmac.compare_digest(expected, each) for each in given)


def _digest(secret: str, at: str, body: bytes) -> str:
    return hmac.new(secret.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()
