"""What a viewer asks to see: read from a URL, checked, and written as a URL again.

When that is in UTC, and what it means to statements, is `window`'s.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, TypeVar

from dashboard.overview.bins import Bin
from dashboard.words import later
from dashboard.zones import known_zones, zone_of
from schemas.names import Lane, Task

T = TypeVar("T")
MAX_NAME_CHARS = 200
YEARS = range(1900, 2200)
_NO_NAME = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


class Span(enum.StrEnum):
    """How far back. CUSTOM: between two times."""

    HOUR = "1h"
    DAY = "24h"
    WEEK = "7d"
    MONTH = "30d"
    ALL = "all"
    CUSTOM = "custom"


@dataclass(frozen=True, slots=True)
class Filters:
    """`begin` and `end` are clock times in `zone`, and there with CUSTOM alone. None: not filtered by that.

    `zone` None: the viewer's own. `bin` None: what suits the stretch of time.
    """

    span: Span = Span.DAY
    begin: datetime | None = None
    end: datetime | None = None
    source: str | None = None
    team: str | None = None
    lane: Lane | None = None
    task: Task | None = None
    bin: Bin | None = None
    zone: str | None = None

    def query(self, **changed: Any) -> dict[str, str]:
        """As the parameters of a URL, with some of them changed; without what is as it is by itself."""
        values = {field.name: changed.get(field.name, getattr(self, field.name)) for field in fields(self)}
        named = {_NAMES.get(name, name): value for name, value in values.items() if value is not None}
        if named.get("range") == Span.DAY:
            del named["range"]
        return {
            name: value.isoformat(timespec="minutes") if isinstance(value, datetime) else str(value)
            for name, value in named.items()
        }


_NAMES = {"span": "range", "begin": "from", "end": "to", "bin": "by"}

NO_CHOICE = later("This is none of the choices.")
NO_NAME = later("This cannot be a name: at most 200 characters, none of them invisible.")
NO_ZONE = later("This time zone is not known. Name one such as Asia/Shanghai.")
NO_TIME = later("Write a time between 1900 and 2199, such as 2026-01-31T08:00.")
NO_STRETCH = later("The end must come after the beginning.")


def parsed(query: Mapping[str, str], viewers_zone: str) -> tuple[Filters, dict[str, str]]:
    """The filters of a URL, and what is wrong by parameter, in English; what is wrong is left out of the filters.

    Times without an offset are clock times of the zone; those with one are changed into such.
    """
    wrong: dict[str, str] = {}

    def read(name: str, convert: Callable[[str], T], message: str) -> T | None:
        given = query.get(name, "").strip()
        try:
            return convert(given) if given else None
        except (ValueError, OverflowError):
            wrong[name] = message
            return None

    zone = read("zone", _zone, NO_ZONE)

    def moment(given: str) -> datetime:
        return _clock_time(given, zone or viewers_zone)

    begin, end = (read(name, moment, NO_TIME) for name in ("from", "to"))
    if begin and end and begin >= end:
        wrong["to"] = NO_STRETCH
        end = None
    span = read("range", Span, NO_CHOICE)
    if span is None:
        span = Span.CUSTOM if begin or end else Span.DAY
    if span is Span.CUSTOM:
        zone = zone or viewers_zone  # clock times mean nothing without one
    else:
        begin = end = None
        wrong = {name: message for name, message in wrong.items() if name not in {"from", "to"}}
    filters = Filters(
        span, begin, end,
        read("source", _name, NO_NAME), read("team", _name, NO_NAME),
        read("lane", Lane, NO_CHOICE), read("task", Task, NO_CHOICE),
        read("by", Bin, NO_CHOICE), zone,
    )  # fmt: skip
    return filters, wrong


def _zone(given: str) -> str:
    if given not in known_zones():
        raise ValueError(given)
    return given


def _name(given: str) -> str:
    if len(given) > MAX_NAME_CHARS or _NO_NAME.search(given):
        raise ValueError(given)
    return given


def _clock_time(given: str, zone: str) -> datetime:
    at = datetime.fromisoformat(given.replace(" ", "+") if re.search(r" \d\d:\d\d$", given) and "T" in given else given)
    if at.year not in YEARS:
        raise ValueError(given)
    if at.tzinfo is not None:
        at = at.astimezone(UTC).astimezone(zone_of(zone)).replace(tzinfo=None)
    return at.replace(second=0, microsecond=0, fold=0)
