"""Where people go after login: back to where they were, and never to another site."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from dashboard.visit import Visit

HOME = "/try"
_MOST_CHARS = 2_000
# One slash, then anything that is seen and no backslash, which browsers take for a slash.
_OURS = re.compile(r"/(?:[!-.0-\[\]-~][!-\[\]-~]*)?")


def ours(path: str) -> str:
    """A path with its query if it stays on this site, else the first page."""
    return path if len(path) <= _MOST_CHARS and _OURS.fullmatch(path) else HOME


def way_back(visit: Visit) -> str:
    """The page to show after login: the one asked for, or the one that a form or a part of a page belongs to."""
    request = visit.request
    if request.method == "GET" and not visit.is_htmx:
        query = f"?{request.url.query}" if request.url.query else ""
        where = quote(request.scope["path"], safe="/:@!$&'()*+,;=~") + query
    else:
        try:
            shown = urlsplit(request.headers.get("hx-current-url") or request.headers.get("referer", ""))
        except ValueError:
            return HOME
        where = shown.path + (f"?{shown.query}" if shown.query else "")
    root = visit.url("")
    return ours(where.removeprefix(root) if root and where.startswith(f"{root}/") else where)
