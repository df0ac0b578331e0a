"""How a command line says "since when": 90s, 30m, 12h, 7d, or a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import typer

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def since_time(value: str | None) -> datetime | None:
    """The moment that `value` means, None for None; a time without a zone is local. Raises typer.BadParameter."""
    if value is None:
        return None
    try:
        if value[-1:] in _UNITS and value[:-1].isdecimal():
            return datetime.now(UTC) - timedelta(**{_UNITS[value[-1]]: int(value[:-1])})
        moment = datetime.fromisoformat(value)
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"{value!r} is no time; use 12h, 7d or 2026-01-31T08:00+08:00") from None
    return moment if moment.tzinfo else moment.astimezone()
