"""Requests as no client of ours would send them: an answer below 500, and a problem document that says why."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from dashboard.app import WebPages, create_pages
from dashboard.pages import PageRoute
from dashboard.visit import csrf_of
from producers.gateway.app import create_app
from schemas.names import Role
from schemas.settings import Settings
from tests.fuzz.budget import examples
from tests.fuzz.mutations import mutated_bytes, mutated_json
from tests.fuzz.values import ODD_JSON, ODD_TIMES, json_texts, raw_bytes, texts
from tests.gateways import JSON, FakeClient, make_app, problem_in
from tests.integration.visiting import COOKIE, PASSWORD, Browser, cheap_hashes  # noqa: F401 - the fixture, for all tests
from worker.desk import users

GOOD = {
    "/v1/predict": {
        "texts": ["好", "坏"], "task": "routing", "labels": {"a": "x", "b": None}, "template": "{}",
        "multi_label": True,
    },
    "/v1/items": {
        "items": [{"id": "1", "text": "好", "meta": {"plan": "pro"}, "kind": "ticket"}, {"id": 2, "text": "坏"}],
    },
    "/predict": {"text": "好"},
}  # fmt: skip
_WHOLE = [json.dumps(value).encode() for value in GOOD.values()]
_ODD = [*(text.encode() for text in ODD_JSON), b'{"id": ' + b"9" * 4_000 + b', "text": "x"}', b'{"text": "\\udfff"}']
_CHANGED = [mutated_json(value).map(lambda value: json.dumps(value).encode()) for value in GOOD.values()]
BODIES = st.one_of(*_CHANGED, *map(mutated_bytes, _WHOLE), st.sampled_from(_ODD), raw_bytes)
KINDS = st.sampled_from([JSON, JSON, JSON, {}, {"Content-Type": "a/b; c"}])


class Caller:
    """One event loop for all calls of a test."""

    def __init__(self, app: FastAPI) -> None:
        self._loop = asyncio.new_event_loop()
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False, client=("127.0.0.1", 1234))
        self.http = httpx2.AsyncClient(transport=transport, base_url="http://localhost:8000")

    def run(self, story: Any) -> Any:
        return self._loop.run_until_complete(story)

    def send(self, method: str, path: str, **options: Any) -> httpx2.Response:
        answer: httpx2.Response = self.run(self.http.request(method, path, **options))
        return answer

    def close(self) -> None:
        self.run(self.http.aclose())
        self._loop.close()


@pytest.fixture(scope="module")
def api() -> Iterator[Caller]:
    caller = Caller(make_app(FakeClient(), http_body_bytes=200_000))
    yield caller
    caller.close()


@given(path=st.sampled_from(sorted(GOOD)), body=BODIES, kind=KINDS)
@examples(120)
def test_a_body_of_any_kind_is_answered_or_refused(api: Caller, path: str, body: bytes, kind: dict[str, str]) -> None:
    answer = api.send("POST", path, content=body, headers=kind)
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400 and path != "/predict":
        problem = problem_in(answer)
        assert problem.detail
        assert answer.status_code != 422 or problem.errors


HALF = "half of a surrogate pair"


@pytest.mark.parametrize(
    ("path", "body", "fields"),
    [
        ("/v1/predict", '{"text": "\\ud800"}', ["text"]),
        ("/v1/predict", '{"texts": ["ok", "x\\udfffx"], "labels": ["\\ud800"]}', ["texts.1", "labels.0"]),
        ("/v1/items", '[{"id": "1", "text": "ok"}, {"id": "2", "text": "\\ud83d"}]', ["1.text"]),
        (
            "/v1/items",
            '{"id": "1", "text": "ok", "meta": {"a": ["\\ud800"], "\\ud800": 1}}',
            ["meta.a.0", "meta.\\ud800"],
        ),
    ],
)
def test_half_a_surrogate_pair_is_refused_with_its_place(api: Caller, path: str, body: str, fields: list[str]) -> None:
    problem = problem_in(api.send("POST", path, content=body, headers=JSON))
    assert 422 == problem.status
    assert sorted(fields) == sorted(error.field for error in problem.errors or ())
    assert {("not_utf8", True)} == {(error.code, HALF in error.message) for error in problem.errors or ()}


PATHS = ("/v1/items", "/v1/items/%ff/%00", "/v1/items//", "/v1/items/a/%2e%2e")
QUERIES = st.dictionaries(st.one_of(st.sampled_from(["lane"]), texts), texts, max_size=3)


@given(query=QUERIES, path=st.sampled_from(PATHS))
@examples(40)
def test_a_query_of_any_kind_is_answered_or_refused(api: Caller, query: dict[str, str], path: str) -> None:
    storable = {_sendable(name): _sendable(value) for name, value in query.items()}
    answer = api.send("POST", path, params=storable, content=b'{"id": 1, "text": "x"}', headers=JSON)
    assert answer.status_code < 500, answer.text


def _sendable(text: str) -> str:
    return text[:500].encode("utf-8", "replace").decode()


@dataclass(frozen=True)
class Pages:
    """All pages as an admin sees them."""

    caller: Caller
    browser: Browser

    def send(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """As a page of ours would, its CSRF token in the header."""
        options["headers"] = {"x-csrf-token": csrf_of(self.browser.secret), **options.get("headers", {})}
        return self.caller.send(method, path, **options)


@pytest.fixture
def pages(settings: Settings, engine: Engine) -> Iterator[Pages]:
    users.create(engine, "admin", PASSWORD, Role.ADMIN)
    app = create_app(settings.model_copy(update={"http_timeout_s": 0.3}), create_pages())
    caller = Caller(app)
    context = app.router.lifespan_context(app)
    caller.run(context.__aenter__())
    browser = Browser(caller.http)
    assert 303 == caller.run(browser.log_in("admin")).status_code
    yield Pages(caller, browser)
    caller.run(context.__aexit__(None, None, None))
    caller.close()


# Leaving ends the test's own session; the stream of changes has no end.
_LEFT_OUT = {"/logout", "/account/logout", "/dashboard/live", "/{path:path}"}
ROUTES = sorted(
    (method, route.path)
    for route in WebPages.routes
    if isinstance(route, PageRoute) and route.path not in _LEFT_OUT
    for method in route.methods or ()
    if method != "HEAD"
)
FIELDS = (
    "action", "after", "again", "before", "chosen", "code", "column", "csrf", "do", "done", "example", "field", "file",
    "from", "item", "kept", "key", "label", "labels", "lane", "language", "letter", "mode", "model", "multi_label",
    "name", "newest", "next", "note", "old", "only", "order", "origin", "page", "password", "percent", "range",
    "review", "reviewer", "role", "same", "seen_as", "since", "sort", "source", "state", "task", "team", "template",
    "text", "ticked", "total", "until", "value", "windows",
)  # fmt: skip
VALUES = st.one_of(
    texts.filter(lambda text: len(text) < 1_000),
    st.sampled_from(ODD_TIMES),
    json_texts.filter(lambda text: len(text) < 1_000),
    st.sampled_from(
        ["sentiment", "routing", "9" * 30, "-9223372036854775809", "1.5", "۱", "2026-13", "0001-01-01T00:00"]
    ),
)
FORMS = st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6)
PLACES = st.sampled_from(["1", "0", "-1", "9" * 30, "x", "%00", "%ff", "%2e%2e", "a b", "۱", "sentiment"])
ZONES = st.sampled_from(["", "UTC", "Asia/Shanghai", "../../etc/passwd", "Pacific/Kiritimati", "\x7f", "x" * 3_000])


@given(
    route=st.sampled_from(ROUTES), place=PLACES, query=FORMS, form=FORMS, zone=ZONES,
    kind=st.sampled_from(["urlencoded", "multipart", "broken", "json"]), broken=raw_bytes,
)  # fmt: skip
@examples(80)
def test_a_page_asked_with_anything_is_a_page(
    pages: Pages, route: tuple[str, str], place: str, query: dict[str, str], form: dict[str, str], zone: str, kind: str,
    broken: bytes,
) -> None:  # fmt: skip
    method, template = route
    path = re.sub(r"\{[^}]+\}", place, template)
    cookies = f"{COOKIE}={pages.browser.secret}; fenliu_zone={zone}"
    options: dict[str, Any] = {"params": _all_sendable(query), "headers": {"Cookie": cookies}}
    if method == "POST":
        match kind:
            case "urlencoded":
                options["data"] = _all_sendable(form)
            case "multipart":
                options["data"] = _all_sendable(form)
                options["files"] = {"file": ("a.csv", broken)}
            case "broken":
                options["content"] = b"--x\r\nContent-Disposition: form-data; name=" + broken + b"\r\n\r\n" + broken
                options["headers"]["Content-Type"] = "multipart/form-data; boundary=x"
            case _:
                options["content"] = broken
                options["headers"]["Content-Type"] = "application/json"
    answer = pages.send(method, path, **options)
    assert answer.status_code < 500 or answer.status_code in {503, 504}, (method, path, answer.text[:500])


def _all_sendable(given: dict[str, str]) -> dict[str, str]:
    return {_sendable(name): _sendable(value) for name, value in given.items()}
