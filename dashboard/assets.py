"""Scripts and styles: ours, and those of others under `static/vendor`, which `make assets` renews.

Each is served under a path that holds its hash, so that browsers keep it for good.
"""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_STATIC = Path(__file__).with_name("static")
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_FOR_GOOD = "public, max-age=31536000, immutable"


def asset_path(name: str) -> str:
    """Where browsers find a file of `static`, such as `app.css` or `vendor/htmx.min.js`."""
    return f"/assets/{_digest(name)}/{name}"


async def asset(request: Request) -> Response:
    """A file, packed for those who can unpack it. Open to all: there is nothing in it that is not in the package."""
    name = request.path_params["name"]
    if name not in _names():
        raise HTTPException(404)
    media_type = _TYPES[Path(name).suffix]
    headers = {"Cache-Control": _FOR_GOOD, "Vary": "Accept-Encoding", "X-Content-Type-Options": "nosniff"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(_packed(name), headers=headers | {"Content-Encoding": "gzip"}, media_type=media_type)
    return Response(_content(name), headers=headers, media_type=media_type)


routes = [Route("/assets/{digest}/{name:path}", asset, methods=["GET"])]


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
    return gzip.compress(_content(name), mtime=0)


@cache
def _digest(name: str) -> str:
    return hashlib.sha256(_content(name)).hexdigest()[:16]
