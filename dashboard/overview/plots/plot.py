"""What a plot is: a statement, what it means, and how its rows become a chart for static/plots.js."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from dashboard.overview.bins import MOST_BINS, Bin, day_of, starts
from dashboard.overview.sql import named_in
from dashboard.overview.window import Window
from dashboard.words import Words

MOST_ROWS = 20_000
"""The LIMIT of every statement, so that no answer fills the memory."""
MOST_BARS = 20


@dataclass(frozen=True, slots=True)
class Series:
    """Values, one per x; None is a gap. `unit` is share, ms, or what is counted."""

    name: str
    values: Sequence[float | None]
    unit: str
    tone: str | None = None
    kind: str | None = None
    dash: str | None = None
    group: int | None = None


@dataclass(frozen=True, slots=True)
class Chart:
    """What static/plots.js draws. `summary` says it in words; `left_out` bars are in the CSV alone."""

    kind: str
    x: Sequence[str]
    series: Sequence[Series]
    summary: str
    bin: str | None = None
    left_out: int = 0

    def as_json(self, about: str, zone: str) -> dict[str, Any]:
        """In the form that static/plots.js describes; `about` says it in words, with the title."""
        shown = [
            {name: value for name in each.__slots__ if (value := getattr(each, name)) is not None}
            | {"values": [_finite(value) for value in each.values]}
            for each in self.series
        ]
        return {"kind": self.kind, "about": about, "x": self.x, "bin": self.bin, "zone": zone, "series": shown}


Rows = Sequence[Row[Any]]


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot. `draw` makes a chart of the rows, which are never empty.

    `notes` say more of it; `partly` what a filter of that name does where it applies to a part of the plot.
    """

    name: str
    title: str
    about: str
    statement: str
    draw: Callable[[Rows, Window, Words], Chart]
    notes: Sequence[str] = ()
    partly: Mapping[str, str] = field(default_factory=dict)

    @property
    def filters(self) -> frozenset[str]:
        """Which filters apply to it: those its view has a column for."""
        return named_in(self.statement)


def binned(rows: Rows, window: Window, each: Bin | None = None) -> tuple[list[str], list[list[Row[Any]]]]:
    """Rows in the order of their column `start` as the beginnings of all bins, and for each of them its rows.

    Bins without rows are there too, unless there would be too many. With `each`, which stands for a view that keeps
    only some days, they begin at the first row.
    """
    begin = rows[0].start if each else window.begin or rows[0].start
    each = each or window.bin
    found: dict[Any, tuple[datetime, list[Row[Any]]]] = {}

    def key(at: datetime) -> Any:
        # By the date: where a clock shows midnight twice, Postgres may mean the other one.
        return at if each is Bin.HOUR else day_of(at, each, window.zone)

    for row in rows:
        found.setdefault(key(row.start), (row.start, []))[1].append(row)
    end = window.end or rows[-1].start + each.length
    if (end - begin) / each.length <= MOST_BINS:
        for at in starts(begin, end, each, window.zone):
            found.setdefault(key(at), (at, []))
    ordered = [found[at] for at in sorted(found)]
    return [at.isoformat() for at, _ in ordered], [here for _, here in ordered]


def ranked(rows: Rows) -> list[str]:
    """The names in the first column of rows, in their order."""
    return list(dict.fromkeys(row[0] for row in rows))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
