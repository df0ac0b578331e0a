"""Time zones that viewers name: checked here, so that no other name reaches Postgres."""

from __future__ import annotations

from functools import cache
from urllib.parse import unquote
from zoneinfo import ZoneInfo, available_timezones

DEFAULT_ZONE = "UTC"
ZONE_COOKIE = "fenliu_zone"
"""Set by static/app.js to the browser's zone."""
_NO_PLACES = {"Factory", "localtime"}


@cache
def known_zones() -> frozenset[str]:
    """All names that stand for a zone everywhere."""
    return frozenset(available_timezones() - _NO_PLACES | {DEFAULT_ZONE})


def zone_of(name: str) -> ZoneInfo:
    """A known zone."""
    return ZoneInfo(name)


def zone_of_cookie(value: str | None) -> str:
    """The zone that a browser's cookie names; UTC if it names none."""
    name = unquote(value or "")
    return name if name in known_zones() else DEFAULT_ZONE
