"""Scripts and styles: ours, and those of others under `static/vendor`, which `make assets` renews.

Each is served under a path that holds its hash, so that browsers keep it for good.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from functools import cache
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_STATIC = Path(__file__).with_name("static")
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_FOR_GOOD = "public, max-age=31536000, immutable"
_NOT_KEPT = "no-cache"


def asset_path(name: str) -> str:
    """Where browsers find a file of `static`, such as `app.css` or `vendor/htmx.min.js`."""
    return f"/assets/{_digest(name)}/{name}"


async def asset(request: Request) -> Response:
    """A file, packed for those who can unpack it. Open to all: there is nothing in it that is not in the package.

    Under another hash, which a page of another version has given, it is served too, but kept by nobody.
    """
    name = request.path_params["name"]
    if name not in _names():
        raise HTTPException(404)
    media_type = _TYPES[Path(name).suffix]
    is_ours = request.path_params["digest"] == _digest(name)
    headers = {
        "Cache-Control": _FOR_GOOD if is_ours else _NOT_KEPT,
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
    }
    if _takes_gzip(request.headers.get("accept-encoding", "")):
        return Response(_packed(name), headers=headers | {"Content-Encoding": "gzip"}, media_type=media_type)
    return Response(_content(name), headers=headers, media_type=media_type)


routes = [Route("/assets/{digest}/{name:path}", asset, methods=["GET"])]


def _takes_gzip(accept_encoding: str) -> bool:
    for choice in accept_encoding.lower().split(","):
        name, _, quality = choice.partition(";")
        if name.strip() == "gzip":
            return not re.fullmatch(r"q=0(\.0*)?", quality.strip())
    return False


@cache
def _names() -> frozenset[str]:
    """Names as browsers use them: packed files without their `.gz`."""
    paths = (str(path.relative_to(_STATIC)).removesuffix(".gz") for path in _STATIC.rglob("*") if path.is_file())
    return frozenset(path for path in paths if Path(path).suffix in _TYPES)


@cache
def _content(name: str) -> bytes:
    path = _STATIC / name
    return path.read_bytes() if path.is_file() else gzip.decompress((_STATIC / f"{name}.gz").read_bytes())


@cache
def _packed(name: str) -> bytes:
    stored = _STATIC / f"{name}.gz"
    return stored.read_bytes() if stored.is_file() else gzip.compress(_content(name), mtime=0)


@cache
def _digest(name: str) -> str:
    return hashlib.sha256(_content(name)).hexdigest()[:16]
