"""Templates to HTML. Everything is escaped unless it is marked; a name that is not there is an error."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from dashboard.assets import asset_path
from dashboard.words import LANGUAGES
from schemas.names import Role

if TYPE_CHECKING:
    from dashboard.visit import Visit

_TEMPLATES = Path(__file__).with_name("templates")


def render(template: str, visit: Visit, **values: Any) -> str:
    """A template with these values, in the language of the visit."""
    words = visit.words
    return _environment().get_template(template).render(
        values, visit=visit, _=words, words=words, url=visit.url, asset=lambda name: visit.url(asset_path(name)),
        language_link=partial(_language_link, visit), LANGUAGES=LANGUAGES, Role=Role,
    )  # fmt: skip


def _language_link(visit: Visit, language: str) -> str:
    """This page in another language: its address with all it has. What a form has answered leads to the form's page."""
    url = visit.request.url
    query = [(name, value) for name, value in visit.request.query_params.multi_items() if name != "language"]
    path = url.path
    if visit.request.method == "POST":
        path = visit.url("/" + path.removeprefix(visit.url("/")).partition("/")[0])
        query = []
    return f"{path}?{urlencode([*query, ('language', language)])}"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {"moment": _moment, "json": _json}
    return environment


def _moment(at: datetime | None) -> Markup:
    """A time, which static/app.js shows in the browser's zone."""
    if at is None:
        return Markup("–")
    return Markup('<time datetime="{}">{}</time>').format(at.isoformat(), f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC")


def _json(value: Any) -> Markup:
    """JSON for `<script type="application/json">`: nothing in it can end the element."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)  # noqa: S704 - what could end the element or begin a tag is escaped above
