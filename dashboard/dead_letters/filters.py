"""Which dead letters a request asks for: a filter from the URL or a form, and the same filter as a URL again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Protocol
from urllib.parse import urlencode

from dashboard.visit import Visit
from dashboard.words import later
from dashboard.zones import zone_of
from schemas.fields import CONTROL, MAX_ID_CHARS
from schemas.names import Lane
from worker.desk.dead_letters import Filter, LetterState

_GREATEST_ID = 2**63 - 1
_MOST_TICKED = 500
_NAMES = ("state", "code", "field", "source", "item", "lane", "since", "until", "text")
_CHOICES: Mapping[str, Sequence[str]] = {"lane": list(Lane), "state": list(LetterState)}


class Values(Protocol):
    """A query or a form."""

    def get(self, key: str) -> object:
        """The value of this name, or None."""

    def getlist(self, key: str) -> Sequence[object]:
        """All values of this name."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A filter as it was asked for. `values` is what fields show, `problems` what stands beside the wrong ones."""

    which: Filter
    values: Mapping[str, str]
    problems: Mapping[str, str]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The filter for a URL or for hidden fields, with the letters that were ticked."""
        given = [(name, value) for name, value in self.values.items() if value]
        return given + [("letter", str(number)) for number in self.which.ids]

    def query(self, **changed: object) -> str:
        """The filter as a query, some of it changed; an empty value leaves its name out."""
        kept = [(name, value) for name, value in self.pairs if name not in changed]
        return urlencode(kept + [(name, str(value)) for name, value in changed.items() if value])


def asked(visit: Visit, given: Values) -> Asked:
    """The filter that a query or a form holds; no value, however odd, is an error."""
    values = {name: str(given.get(name) or "").strip() for name in _NAMES}
    problems: dict[str, str] = {}
    for name, value in values.items():
        if len(value) > MAX_ID_CHARS:
            problems[name] = visit.words("At most %(most)s characters.", most=MAX_ID_CHARS)
            values[name] = value[:MAX_ID_CHARS]
        elif CONTROL.search(value):
            problems[name] = visit.words("This holds signs that are no text.")
        elif value and name in _CHOICES and value not in _CHOICES[name]:
            problems[name] = visit.words("Choose one of the list.")
    times: dict[str, datetime | None] = {}
    zone = zone_of(visit.zone)
    for name in ("since", "until"):
        times[name] = time = _time(values[name], zone)
        if time is not None:
            values[name] = _in_field(time, zone)
        elif values[name] and name not in problems:
            problems[name] = visit.words("“%(value)s” is no time.", value=values[name])
        if name in problems:
            values[name] = ""  # its field can hold nothing but times
    ids = [number for value in given.getlist("letter")[:_MOST_TICKED] if (number := whole(value))]
    return Asked(Filter() if problems else _filter(values, times, ids), values, problems)


def whole(value: object) -> int | None:
    """A number from 1 to what a row's id can be; None for all else."""
    text = str(value or "")
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else 0
    return number if 0 < number <= _GREATEST_ID else None


def _filter(values: Mapping[str, str], times: Mapping[str, datetime | None], ids: Sequence[int]) -> Filter:
    return Filter(
        ids=tuple(ids),
        code=values["code"] or None,
        source=values["source"] or None,
        since=times["since"],
        state=LetterState(values["state"] or LetterState.WAITING),
        field=values["field"] or None,
        lane=Lane(values["lane"]) if values["lane"] else None,
        item_id=values["item"] or None,
        until=times["until"],
        text=values["text"] or None,
    )


def _time(value: str, zone: tzinfo) -> datetime | None:
    try:
        time = datetime.fromisoformat(value)
        return (time if time.tzinfo else time.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _in_field(time: datetime, zone: tzinfo) -> str:
    """As a field for times shows it, which says no zone."""
    with suppress(OverflowError):  # the first or the last day of all
        time = time.astimezone(zone)
    return time.replace(tzinfo=None).isoformat(timespec="minutes")


STATES = {
    LetterState.WAITING: later("Waiting"),
    LetterState.REPLAYED: later("Sent back"),
    LetterState.ALL: later("All"),
}
"""What they are called."""
LANES = {Lane.LIVE: later("live"), Lane.BULK: later("bulk")}
"""What they are called."""
