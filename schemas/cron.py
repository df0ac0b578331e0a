"""When a cron expression is due next, in a time zone with its daylight saving. What is run then is not here."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from schemas.errors import ScheduleError

_FIELDS = {
    "minute": "0-59",
    "hour": "0-23",
    "day-of-month": "1-31 (as many as the month has) or L",
    "month": "1-12 or JAN-DEC",
    "day-of-week": "0-7 (0 and 7 are Sunday) or SUN-SAT",
}


def next_run(cron: str, timezone: str, after: datetime) -> datetime:
    """The first moment later than `after` that `cron` names, in UTC.

    `cron` has five fields and is read as Debian's cron reads it: a time that daylight saving skips comes right
    after the gap, a time that it repeats comes once. Raises ScheduleError that shows what is wrong.
    """
    zone = zone_of(timezone)
    parts = cron.split()
    if len(parts) != len(_FIELDS):
        raise ScheduleError(
            f"cron {cron!r} has {len(parts)} fields instead of 5: minute hour day-of-month month day-of-week, "
            "as in '0 2 * * *' for every night at two"
        )
    try:
        moments = CronSim(cron, after.astimezone(zone))
    except CronSimError as error:
        raise ScheduleError(_wrong_field(parts, str(error))) from None
    for moment in moments:
        due = moment.astimezone(UTC)
        # In the hour that is repeated, the first of two equal times may lie behind.
        if due > after:
            return due
    raise ScheduleError(f"cron {cron!r} never comes: is there such a day in such a month?")


def zone_of(name: str) -> ZoneInfo:
    """A time zone by its name. Raises ScheduleError."""
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise ScheduleError(f"{name!r} is no time zone; use a name such as Asia/Shanghai or UTC") from None


def _wrong_field(parts: list[str], problem: str) -> str:
    for part, (name, allowed) in zip(parts, _FIELDS.items(), strict=True):
        if problem == f"Bad {name}":
            return f"cron: the {name} {part!r} is wrong; it takes {allowed}, *, lists (1,2), ranges (1-5), steps (*/5)"
    return f"cron {' '.join(parts)!r}: {problem}"
