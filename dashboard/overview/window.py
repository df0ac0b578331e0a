"""Filters as a stretch of time in UTC with its bins, and as the parameters of statements."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from dashboard.overview.bins import Bin, first, suitable
from dashboard.overview.filters import YEARS, Filters, Span
from dashboard.zones import zone_of

LENGTHS = {
    Span.HOUR: timedelta(hours=1),
    Span.DAY: timedelta(days=1),
    Span.WEEK: timedelta(days=7),
    Span.MONTH: timedelta(days=30),
}
EARLIEST, LATEST = (datetime(year, 1, 1, tzinfo=UTC) for year in (YEARS.start, YEARS.stop))
"""Bins lie between these: systems that know no time write the first or the last there is, which no zone can show."""


@dataclass(frozen=True, slots=True)
class Window:
    """From `begin` up to `end` in UTC, None: unbounded. `begin` stands at the beginning of a bin or hour."""

    filters: Filters
    begin: datetime | None
    end: datetime | None
    bin: Bin
    zone: ZoneInfo
    now: datetime

    @property
    def parameters(self) -> dict[str, Any]:
        """What the statements of plots may name. Hours begin in UTC whatever the zone."""
        filters = self.filters
        return {
            "begin": self.begin,
            "end": self.end,
            "earliest": None if self.begin else EARLIEST,
            "latest": None if self.end else LATEST,
            "source": filters.source,
            "team": filters.team,
            "lane": filters.lane and filters.lane.value,
            "task": filters.task and filters.task.value,
            "bin": self.bin.value,
            "zone": "UTC" if self.bin is Bin.HOUR else self.zone.key,
        }

    @property
    def is_between_hours(self) -> bool:
        """Whether days of the zone begin within an hour of the views."""
        offset = (self.end or self.now).astimezone(self.zone).utcoffset() or timedelta()
        return self.bin is not Bin.HOUR and bool(offset % timedelta(hours=1))


def window_of(filters: Filters, viewers_zone: str, now: datetime, extent: tuple[datetime, datetime] | None) -> Window:
    """`extent` is when the first and the last item were written, for choosing the bins of all time."""
    zone = zone_of(filters.zone or viewers_zone)
    if filters.span is Span.ALL:
        first_at, last_at = extent or (None, None)
        return Window(filters, None, None, suitable(first_at, last_at, filters.bin), zone, now)
    # Up to the end of the hour: what is dated later is a mistake of its source, and would stretch every plot.
    end = first(now, Bin.HOUR, zone) + timedelta(hours=1)
    if filters.span is not Span.CUSTOM:
        begin = now - LENGTHS[filters.span]
        each = suitable(begin, end, filters.bin)
        return Window(filters, first(begin, each, zone), end, each, zone, now)
    # Whole hours of the clock that the viewer knows: the views know no parts of them.
    from_hour = _utc(filters.begin and _hour(filters.begin), zone)
    to_hour = _utc(filters.end and _hour(filters.end + timedelta(minutes=59)), zone)
    each = suitable(from_hour or (extent and extent[0]), to_hour or end, filters.bin)
    return Window(filters, from_hour, to_hour, each, zone, now)


def _hour(clock_time: datetime) -> datetime:
    return clock_time.replace(minute=0)


def _utc(clock_time: datetime | None, zone: ZoneInfo) -> datetime | None:
    return clock_time.replace(tzinfo=zone).astimezone(UTC) if clock_time else None
