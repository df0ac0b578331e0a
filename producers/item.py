"""One item on its way to an inbox: its values as Python has them, and the flat fields they become.

Pure; what the fields must obey is `schemas.messages`', sending them is `producers.client`'s.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, TypedDict
from uuid import UUID

from schemas.errors import Code, EntryError
from schemas.fields import KNOWN_FIELDS, MAX_ID_CHARS
from schemas.names import DEFAULT_ROUTE_SET, DEFAULT_SOURCE, Kind, Task


@dataclass(frozen=True, slots=True)
class Item:
    """A comment or ticket to classify. Only `id` and `text` are required; (source, id) is its identity.

    `created_at` is when it was written, `updated_at` when this text was true at its source (the newest
    wins), `deadline` the time after which nobody needs the result; all with a zone. `tasks` overrides what
    `kind` asks for. `meta` (up to 8 KiB as JSON) is stored with the item. `labels`: a list of names, or
    label → description or label → {description, examples, threshold}. `store=False`: reply only, no rows.
    """

    id: str | int | UUID
    text: str
    source: str = DEFAULT_SOURCE
    kind: Kind | str = Kind.COMMENT
    tasks: Sequence[Task | str] | None = None
    route_set: str = DEFAULT_ROUTE_SET
    created_at: datetime | None = None
    updated_at: datetime | None = None
    deadline: datetime | None = None
    reply_to: str | None = None
    meta: Mapping[str, object] | None = None
    model: str | None = None
    labels: Sequence[str] | Mapping[str, object] | None = None
    template: str | None = None
    multi_label: bool = False
    store: bool = True


class AskOptions(TypedDict, total=False):
    """The optional values of an Item whose result is waited for."""

    source: str
    kind: Kind | str
    tasks: Sequence[Task | str] | None
    route_set: str
    created_at: datetime | None
    updated_at: datetime | None
    deadline: datetime | None
    meta: Mapping[str, object] | None
    model: str | None
    labels: Sequence[str] | Mapping[str, object] | None
    template: str | None
    multi_label: bool
    store: bool


class ItemOptions(AskOptions, total=False):
    """The optional values of an Item, as keyword arguments."""

    reply_to: str | None


_MOST_BITS = 4 * MAX_ID_CHARS
_EXACT_FLOATS = 2**53  # above, two ids could become the same float
_OPTIONAL = (
    "tasks", "created_at", "updated_at", "deadline", "reply_to", "meta", "model", "labels", "template",
)  # fmt: skip


def fields_of(item: Item | Mapping[str, object]) -> dict[str, str]:
    """The flat fields of an inbox entry; not yet checked against the contract.

    A mapping may hold what Item holds, or the flat text itself; None is left out. A name that the contract
    does not know stays a field of its own if it is text (workers keep it in meta), else it joins meta and
    keeps its JSON type. Raises EntryError for a value that cannot become text.
    """
    given = _given(item) if isinstance(item, Item) else item
    fields: dict[str, str] = {}
    extra: dict[str, object] = {}
    for name, value in given.items():
        if type(value) is str:
            fields[name] = value
        elif value is None:
            continue
        elif name in KNOWN_FIELDS:
            fields[name] = _AS_TEXT.get(name, _plain_text)(name, value)
        else:
            extra[name] = value
    if extra:
        _join_meta(fields, extra)
    return fields


def _given(item: Item) -> dict[str, object]:
    given: dict[str, object] = {"id": item.id, "text": item.text}
    if item.source != DEFAULT_SOURCE:
        given["source"] = item.source
    if item.kind != Kind.COMMENT:
        given["kind"] = item.kind
    if item.route_set != DEFAULT_ROUTE_SET:
        given["route_set"] = item.route_set
    for name in _OPTIONAL:
        value = getattr(item, name)
        if value is not None:
            given[name] = value
    if item.multi_label:
        given["multi_label"] = item.multi_label
    if not item.store:
        given["store"] = item.store
    return given


def _join_meta(fields: dict[str, str], extra: dict[str, object]) -> None:
    """Put values that are no text into meta, where they keep their types; what meta says already, stays."""
    meta: object = {}
    if "meta" in fields:
        try:
            meta = json.loads(fields["meta"])
        except (ValueError, RecursionError):
            return  # the check refuses it, and names meta
    if isinstance(meta, dict):
        fields["meta"] = _json("meta", {**extra, **meta})


def _plain_text(name: str, value: object) -> str:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, int) and not isinstance(value, bool):
        if value.bit_length() > _MOST_BITS:  # which Python refuses to write, or takes its time to
            raise EntryError(Code.TOO_LONG, name, f"is a number of {value.bit_length()} bits; give it as text, cut")
        return str(value)
    raise EntryError(Code.BAD_VALUE, name, f"must be text, not {type(value).__name__}")


def _id(name: str, value: object) -> str:
    """An id as text; a column of whole numbers with a gap in it comes as floats from many tools."""
    match value:
        case float() if value.is_integer() and abs(value) < _EXACT_FLOATS:
            return str(int(value))
        case Decimal() if value.is_finite() and value.adjusted() < MAX_ID_CHARS and value == value.to_integral_value():
            return str(int(value))
        case _:
            return _plain_text(name, value)


def _tasks(name: str, value: object) -> str:
    if isinstance(value, str):
        return str(value)
    if not isinstance(value, Iterable):
        raise EntryError(Code.UNKNOWN_TASK, name, f"must be a list of tasks, not {type(value).__name__}")
    return ",".join(str(task) for task in value)


def _time(name: str, value: object) -> str:
    if isinstance(value, str):
        return str(value)
    if not isinstance(value, datetime):
        raise EntryError(Code.BAD_TIME, name, f"must be a datetime or RFC 3339 text, not {type(value).__name__}")
    try:
        if value.utcoffset() is None:
            raise EntryError(Code.BAD_TIME, name, f"is {value.isoformat()} without a zone; say which zone it is in")
        return value.astimezone(UTC).isoformat()
    except (OverflowError, ValueError):
        raise EntryError(Code.BAD_TIME, name, f"is {value!r:.60}, which no zone can move to UTC") from None


def _flag(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _plain_text(name, value)


def _json(name: str, value: object) -> str:
    if isinstance(value, str):
        return str(value)
    try:
        return _ENCODER.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise EntryError(Code.BAD_JSON, name, f"cannot be written as JSON: {str(error)[:200]}") from None


def _json_default(value: object) -> Any:
    match value:
        case datetime() | date() | time():
            return value.isoformat()
        case Decimal() | UUID():
            return str(value)
        case Mapping():
            return dict(value)
        case set() | frozenset():
            return sorted(value, key=str)
        case _:
            raise TypeError(f"{type(value).__name__} has no JSON form")


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_json_default)
_AS_TEXT: dict[str, Callable[[str, object], str]] = {
    "id": _id,
    "tasks": _tasks,
    "created_at": _time,
    "updated_at": _time,
    "deadline": _time,
    "meta": _json,
    "labels": _json,
    "multi_label": _flag,
    "store": _flag,
}
