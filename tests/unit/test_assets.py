"""Scripts and styles of the pages: nothing else is served, for good under their hash, packed for those who unpack."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette

from dashboard.assets import asset_path, routes
from tests.conftest import ROOT

STATIC = ROOT / "dashboard" / "static"


def get(path: str, method: str = "GET", **headers: str) -> httpx2.Response:
    async def story() -> httpx2.Response:
        transport: Any = httpx2.ASGITransport(Starlette(routes=routes))
        async with httpx2.AsyncClient(transport=transport, base_url="http://fenliu") as http:
            http.headers.pop("accept-encoding")
            return await http.request(method, path, headers=headers)

    return asyncio.run(story())


@pytest.mark.parametrize(
    ("name", "kind"),
    [("app.css", "text/css"), ("app.js", "text/javascript"), ("icon.svg", "image/svg+xml")],
)
def test_a_file_is_kept_for_good_under_its_hash(name: str, kind: str) -> None:
    answer = get(asset_path(name))
    assert (200, (STATIC / name).read_bytes()) == (answer.status_code, answer.content)
    assert kind == answer.headers["content-type"].partition(";")[0]
    assert "immutable" in answer.headers["cache-control"]
    assert "nosniff" == answer.headers["x-content-type-options"]


def test_under_the_hash_of_another_version_it_is_served_and_not_kept() -> None:
    answer = get("/assets/0123456789abcdef/app.css")
    assert (200, "no-cache") == (answer.status_code, answer.headers["cache-control"])


def test_a_file_that_is_stored_packed_is_sent_as_it_is_or_unpacked() -> None:
    stored = (STATIC / "vendor" / "htmx.min.js.gz").read_bytes()
    packed = get(asset_path("vendor/htmx.min.js"), **{"accept-encoding": "br, gzip"})
    assert ("gzip", "Accept-Encoding") == (packed.headers["content-encoding"], packed.headers["vary"])
    assert gzip.decompress(stored) == packed.content  # the client has unpacked it
    for refused in ("", "br", "gzip;q=0", "br;q=1, gzip;q=0.0"):
        plain = get(asset_path("vendor/htmx.min.js"), **({"accept-encoding": refused} if refused else {}))
        assert "content-encoding" not in plain.headers
        assert gzip.decompress(stored) == plain.content


def test_head_tells_the_length_alone() -> None:
    answer = get(asset_path("app.css"), "HEAD")
    assert 200 == answer.status_code
    assert str((STATIC / "app.css").stat().st_size) == answer.headers["content-length"]


@pytest.mark.parametrize(
    "name",
    [
        "..%2fassets.py", "vendor%2f..%2f..%2fassets.py", "%2e%2e/app.py", "/etc/passwd", "//etc/passwd",
        "app.css%00.svg", "vendor/htmx.min.js.gz", "vendor/htmx.LICENSE", "vendor", "", "nothing.js",
    ],
)  # fmt: skip
def test_nothing_else_is_served(name: str) -> None:
    assert 404 == get(f"/assets/0123456789abcdef/{name}").status_code
