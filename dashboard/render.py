"""Templates to HTML. Everything is escaped unless it is marked; a name that is not there is an error."""

from __future__ import annotations

import json
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from dashboard.assets import asset_path
from schemas.names import Role

if TYPE_CHECKING:
    from dashboard.visit import Visit

_TEMPLATES = Path(__file__).with_name("templates")


def render(template: str, visit: Visit, **values: Any) -> str:
    """A template with these values, in the language of the visit."""
    words = visit.words
    return _environment().get_template(template).render(
        values, visit=visit, _=words, words=words, url=visit.url, asset=lambda name: visit.url(asset_path(name)),
        Role=Role,
    )  # fmt: skip


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
    return Markup('<time datetime="{}">{}</time>').format(at.isoformat(), f"{at:%Y-%m-%d %H:%M} UTC")


def _json(value: Any) -> Markup:
    """JSON for `<script type="application/json">`: nothing in it can end the element."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)  # noqa: S704 - what could end the element or begin a tag is escaped above
