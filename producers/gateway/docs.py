"""`/docs`: the API's description for people, with its scripts from here, so that it needs no internet."""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path

from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from producers.gateway.direct import DirectRoute
from producers.gateway.openapi import describe

router = APIRouter(route_class=DirectRoute, include_in_schema=False)

OPENAPI_PATH = "/openapi.json"
_STATIC = Path(__file__).with_name("static")
_TYPES = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
_NO_ICON = "data:,"


@router.get(OPENAPI_PATH)
async def openapi(request: Request) -> Response:
    """The description for programs."""
    return JSONResponse(describe(request.app))


@router.get("/docs")
async def docs(request: Request) -> Response:
    """The page."""
    root = request.scope.get("root_path", "").rstrip("/")
    return get_swagger_ui_html(
        openapi_url=root + OPENAPI_PATH,
        title="Fenliu",
        swagger_js_url=f"{root}/docs/swagger-ui-bundle.js",
        swagger_css_url=f"{root}/docs/swagger-ui.css",
        swagger_favicon_url=_NO_ICON,
        swagger_ui_parameters={"validatorUrl": None, "tryItOutEnabled": True},
    )


@router.get("/docs/{name}")
async def part(request: Request) -> Response:
    """One of the page's two files, packed for those who can unpack it."""
    name = request.path_params["name"]
    if name not in _TYPES:
        raise HTTPException(404)
    packed = _packed(name)
    headers = {"Cache-Control": "public, max-age=86400", "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(packed, headers=headers | {"Content-Encoding": "gzip"}, media_type=_TYPES[name])
    return Response(gzip.decompress(packed), headers=headers, media_type=_TYPES[name])


@cache
def _packed(name: str) -> bytes:
    return (_STATIC / f"{name}.gz").read_bytes()
