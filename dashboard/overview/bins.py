"""Bins of time: hours, days and weeks, where they begin in a zone, and which suits a stretch of time.

Hours begin in UTC, as the views count them; days, and weeks from Monday, begin at midnight of the zone, as Postgres'
`date_trunc(bin, moment, zone)` has it.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

MOST_BINS = 2_000
"""A plot with more bins than this takes the next longer ones."""
_HOURS_UP_TO = timedelta(days=3)
_DAYS_UP_TO = timedelta(days=120)


class Bin(enum.StrEnum):
    """What one point of a plot stands for."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"

    @property
    def length(self) -> timedelta:
        """How long it usually is."""
        return {Bin.HOUR: timedelta(hours=1), Bin.DAY: timedelta(days=1), Bin.WEEK: timedelta(weeks=1)}[self]


def suitable(begin: datetime | None, end: datetime | None, wanted: Bin | None = None) -> Bin:
    """The wanted bin, or the one that suits the stretch; longer ones where it would be more than MOST_BINS."""
    length = end - begin if begin and end else None
    if wanted is None:
        if length is None:
            return Bin.DAY
        wanted = Bin.HOUR if length <= _HOURS_UP_TO else Bin.DAY if length <= _DAYS_UP_TO else Bin.WEEK
    longer = [each for each in Bin if each.length >= wanted.length]
    return next((each for each in longer if length is None or length / each.length < MOST_BINS), Bin.WEEK)


def first(at: datetime, each: Bin, zone: ZoneInfo) -> datetime:
    """The beginning, in UTC, of the bin that `at` is in."""
    if each is Bin.HOUR:
        return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return _midnight(day_of(at, each, zone), zone)


def day_of(at: datetime, each: Bin, zone: ZoneInfo) -> date:
    """The first day of the day or week that `at` is in."""
    day = at.astimezone(zone).date()
    return day - timedelta(days=day.weekday()) if each is Bin.WEEK else day


def starts(begin: datetime, end: datetime, each: Bin, zone: ZoneInfo) -> Iterator[datetime]:
    """The beginnings, in UTC, of all bins from the one `begin` is in up to `end`, which is not part of it."""
    at = first(begin, each, zone)
    while at < end:
        yield at
        at = at + each.length if each is Bin.HOUR else _midnight(day_of(at, each, zone) + each.length, zone)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
