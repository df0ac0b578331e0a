"""The cookie that holds a browser's secret: a session's token, or before login something random to make forms with.

It ends with the browser. Under https it is Secure and its name begins with `__Host-`, so that neither plain http nor a
neighbouring domain can plant one.
"""

from __future__ import annotations

import re
import secrets

from starlette.requests import Request
from starlette.responses import Response

from worker.desk.sessions import TOKEN_BYTES

_NAME = "fenliu_session"
_SECURE_NAME = f"__Host-{_NAME}"
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


def is_secure(request: Request) -> bool:
    """Whether the browser speaks https: to us, or to a proxy whose word on it is taken (FORWARDED_ALLOW_IPS)."""
    return request.url.scheme == "https"


def sent(request: Request, name: str) -> str | None:
    """The value of a cookie as it came; None if the browser sent none of that name.

    Ours are never quoted, and Python before 3.11.10 takes seconds to unquote a hostile one (CVE-2024-7592).
    """
    found = None
    for each in request.headers.get("cookie", "").split(";"):
        key, _, value = each.partition("=")
        if key.strip() == name:
            found = value.strip()
    return found


def sent_secret(request: Request) -> str | None:
    """What the browser keeps, if it looks like one of ours."""
    value = sent(request, _name(request)) or ""
    return value if _SECRET.fullmatch(value) else None


def new_secret() -> str:
    """For a browser that has none."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def keep(request: Request, response: Response, secret: str) -> None:
    """Have the browser keep it, for us alone and out of reach of scripts."""
    response.set_cookie(_name(request), secret, httponly=True, samesite="lax", secure=is_secure(request), path="/")


def is_kept(request: Request, response: Response) -> bool:
    """Whether the response has the browser keep one already."""
    return any(value.startswith(f"{_name(request)}=") for value in response.headers.getlist("set-cookie"))


def _name(request: Request) -> str:
    return _SECURE_NAME if is_secure(request) else _NAME
