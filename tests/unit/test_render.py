"""What templates are given: escaped texts, JSON that ends no element, times, the link to the other language."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from jinja2 import UndefinedError
from starlette.requests import Request

from dashboard.access.person import Person
from dashboard.render import _environment, render
from dashboard.visit import Visit
from dashboard.words import words_of
from schemas.names import Role

HOSTILE = "</script><script>alert('1')</script>&\u2028"


def visit_to(path: str, query: str = "", *, method: str = "GET", language: str = "en", root: str = "") -> Visit:
    scope = {
        "type": "http", "method": method, "path": root + path, "root_path": root, "query_string": query.encode(),
        "headers": [(b"host", b"fenliu")], "scheme": "http", "server": ("fenliu", 80),
    }  # fmt: skip
    site: Any = None
    return Visit(Request(scope), site, Person("local", Role.ADMIN), words_of(language), "secret")


def test_texts_are_escaped() -> None:
    page = render("error.html", visit_to("/try"), code=400, message=HOSTILE)
    assert HOSTILE not in page
    assert "&lt;/script&gt;" in page


def test_json_comes_back_the_same_and_ends_no_element() -> None:
    written = _environment().from_string("{{ data|json }}").render(data={"text": HOSTILE, "n": [1, None, 0.5]})
    assert {"text": HOSTILE, "n": [1, None, 0.5]} == json.loads(written)
    assert not set("<>&\u2028") & set(written)


def test_times_are_written_in_utc_whatever_zone_they_are_in() -> None:
    at = datetime(2026, 3, 1, 7, 30, tzinfo=timezone(timedelta(hours=8)))
    written = _environment().from_string("{{ at|moment }} {{ none|moment }}").render(at=at, none=None)
    assert '<time datetime="2026-03-01T07:30:00+08:00">2026-02-28 23:30 UTC</time> –' == written


def test_a_name_that_is_not_given_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="message"):
        render("error.html", visit_to("/try"), code=400)


@pytest.mark.parametrize(
    ("visit", "link"),
    [
        (visit_to("/try"), "/try?language=zh"),
        (visit_to("/dashboard", "team=%E9%80%80&bin=day"), "/dashboard?team=%E9%80%80&bin=day&language=zh"),
        (visit_to("/try", "language=en", language="zh"), "/try?language=en"),
        (visit_to("/review/claim", method="POST"), "/review?language=zh"),
        (visit_to("/review/claim", method="POST", root="/fenliu"), "/fenliu/review?language=zh"),
    ],
)  # fmt: skip
def test_the_other_language_is_the_same_page_with_all_its_address_has(visit: Visit, link: str) -> None:
    page = render("error.html", visit, code=400, message="")
    assert f'href="{link.replace("&", "&amp;")}"' in page


def test_the_page_one_is_on_is_marked() -> None:
    page = render("error.html", visit_to("/review/claim"), code=400, message="")
    assert 1 == page.count("aria-current")
    assert '<a href="/review" aria-current="page">' in page


def test_the_page_says_its_language() -> None:
    assert '<html lang="zh-CN">' in render("error.html", visit_to("/try", language="zh"), code=400, message="")
