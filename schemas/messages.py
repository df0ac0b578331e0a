"""The inbox entry and the reply: their fields, their rules, their bytes.

One set of rules for both ends: producers check with `check_fields` before they send, workers decode with
`decode`. Pure: no Redis here. Label sets inside an entry are `schemas.labels`'.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.errors import Code, EntryError, LabelsError
from schemas.labels import LabelSet, label_set
from schemas.names import (
    DEFAULT_ROUTE_SET,
    DEFAULT_SOURCE,
    TASKS_OF_KIND,
    Keys,
    Kind,
    Lane,
    ReplyStatus,
    Task,
)

MAX_ID_CHARS = 200
MAX_TEXT_CHARS = 20_000
MAX_META_BYTES = 8 * 1024
MAX_LABELS_BYTES = 256 * 1024
MAX_JSON_LEVELS = 64
MAX_TEMPLATE_CHARS = 500

KNOWN_FIELDS = frozenset(
    [
        "id",
        "text",
        "source",
        "kind",
        "tasks",
        "route_set",
        "created_at",
        "updated_at",
        "deadline",
        "reply_to",
        "meta",
        "model",
        "labels",
        "template",
        "multi_label",
        "store",
    ]
)

_PLAIN_FIELDS = frozenset(["id", "text", "source", "kind"])
_KINDS = frozenset(kind.value for kind in Kind)
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_INVISIBLE = " \t\r\n\u3000\u00a0\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_ENTRY_ID = re.compile(r"(\d{1,20})-(\d{1,20})", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YES = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class RawEntry:
    """One stream entry as Redis gives it, with how often it has been delivered."""

    lane: Lane
    entry_id: str
    fields: Mapping[bytes, bytes]
    deliveries: int = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """A decoded, valid inbox entry. All times are UTC."""

    lane: Lane
    entry_id: str
    id: str
    text: str
    source: str = DEFAULT_SOURCE
    kind: Kind = Kind.COMMENT
    tasks: tuple[Task, ...] = (Task.SENTIMENT,)
    route_set: str = DEFAULT_ROUTE_SET
    created_at: datetime = _EPOCH
    updated_at: datetime = _EPOCH
    deadline: datetime | None = None
    reply_to: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    model: str | None = None
    labels: LabelSet | None = None
    template: str | None = None
    multi_label: bool = False
    store: bool = True

    @property
    def order(self) -> tuple[datetime, int, int]:
        """What decides which of two entries of one item is newer: the greater."""
        return (self.updated_at, *entry_order(self.entry_id))


def entry_order(entry_id: str) -> tuple[int, int]:
    """A stream entry's id as its two integers: milliseconds and sequence."""
    ms, _, seq = entry_id.partition("-")
    return int(ms), int(seq or 0)


def entry_time(entry_id: str) -> datetime:
    """When an entry was added, by its id. An id that is no time (set by its producer) counts as the epoch."""
    try:
        return _EPOCH + timedelta(milliseconds=entry_order(entry_id)[0])
    except OverflowError:
        return _EPOCH


def decode(raw: RawEntry, keys: Keys) -> Entry:
    """The entry that `raw` holds. Raises EntryError with the first rule it breaks."""
    fields = _texts(raw.fields)
    entry_id_ = _name(fields, "id")
    source = _name(fields, "source") if "source" in fields else DEFAULT_SOURCE
    text = _item_text(fields)
    kind = _kind(fields)
    tasks = _tasks(fields["tasks"]) if "tasks" in fields else TASKS_OF_KIND[kind]
    added_at = entry_time(raw.entry_id)
    if len(fields) <= 4 and fields.keys() <= {"id", "text", "source", "kind"}:
        return Entry(
            raw.lane, raw.entry_id, entry_id_, text, source, kind, tasks,
            created_at=added_at, updated_at=added_at,
        )  # fmt: skip
    updated_at = _time(fields, "updated_at") or added_at
    return Entry(
        lane=raw.lane,
        entry_id=raw.entry_id,
        id=entry_id_,
        text=text,
        source=source,
        kind=kind,
        tasks=tasks,
        route_set=_name(fields, "route_set") if "route_set" in fields else DEFAULT_ROUTE_SET,
        created_at=_time(fields, "created_at") or added_at,
        updated_at=updated_at,
        deadline=_time(fields, "deadline"),
        reply_to=_reply_to(fields, keys),
        meta=_meta(fields),
        model=_name(fields, "model") if "model" in fields else None,
        labels=_labels(fields),
        template=_template(fields),
        multi_label=_flag(fields, "multi_label", default=False),
        store=_flag(fields, "store", default=True),
    )


def check_fields(fields: Mapping[str, str], keys: Keys) -> None:
    """Raise EntryError if a worker would refuse an entry with these fields. What producers call."""
    if _plainly_right(fields):
        return
    try:
        raw = {name.encode(): value.encode() for name, value in fields.items()}
    except UnicodeEncodeError:
        name = next(name for name, value in fields.items() if _half_pair(name) or _half_pair(value))
        raise EntryError(Code.NOT_UTF8, name, "holds half of a surrogate pair; remove it") from None
    except AttributeError:
        name, value = next(pair for pair in fields.items() if not all(isinstance(part, str) for part in pair))
        wrong = value if isinstance(name, str) else name
        raise EntryError(
            Code.BAD_VALUE, str(name), f"must be text, not {type(wrong).__name__}; use str() or JSON"
        ) from None
    decode(RawEntry(Lane.LIVE, "0-1", raw), keys)


def _plainly_right(fields: Mapping[str, str]) -> bool:
    """Whether the commonest fields are right at a glance; False means only that it takes a closer look.

    Printable text holds no control character, no half pair and no blank but U+0020.
    """
    if not _PLAIN_FIELDS.issuperset(fields):
        return False
    try:
        text = fields["text"]
        if not (text.isprintable() and 0 < len(text) <= MAX_TEXT_CHARS and text[0] != " "):
            return False
        for name in ("id", "source"):
            value = fields.get(name, DEFAULT_SOURCE)
            if not (value.isprintable() and 0 < len(value) <= MAX_ID_CHARS and value[0] != " "):
                return False
        return "id" in fields and fields.get("kind", Kind.COMMENT) in _KINDS
    except (KeyError, AttributeError, TypeError):
        return False


def identity_of(raw: RawEntry) -> tuple[str, str] | None:
    """(source, id) of an entry that may break other rules, or None if it does not even have these."""
    try:
        fields = _texts({name: raw.fields[name] for name in (b"id", b"source") if name in raw.fields})
        return (_name(fields, "source") if "source" in fields else DEFAULT_SOURCE), _name(fields, "id")
    except EntryError:
        return None


def reply_to_of(raw: RawEntry, keys: Keys) -> str | None:
    """Where an entry that may break other rules wants its reply, if that much is right."""
    try:
        return _reply_to(_texts({b"reply_to": raw.fields[b"reply_to"]}), keys)
    except (EntryError, KeyError):
        return None


def raw_to_json(fields: Mapping[bytes, bytes]) -> dict[str, Any]:
    """Raw fields as JSON that Postgres takes: text where it is text, else {"base64": ...}. Loses nothing."""
    return {_json_key(name): _json_value(value) for name, value in fields.items()}


def raw_from_json(fields: Mapping[str, Any]) -> dict[bytes, bytes]:
    """The inverse of `raw_to_json`."""
    return {_from_json_key(name): _from_json_value(value) for name, value in fields.items()}


def encode_reply(entry_id: str, identity: tuple[str, str], status: ReplyStatus, result: object) -> dict[str, str]:
    """Fields of a reply. `result` becomes JSON."""
    return {
        "entry_id": entry_id,
        "source": identity[0],
        "id": identity[1],
        "status": status.value,
        "result": json.dumps(result, ensure_ascii=False, separators=(",", ":")),
    }


def _texts(raw: Mapping[bytes, bytes]) -> dict[str, str]:
    try:
        return {name.decode(): value.decode() for name, value in raw.items()}
    except UnicodeDecodeError:
        for name, value in raw.items():
            shown = name.decode("utf-8", "backslashreplace")
            for part in (name, value):
                try:
                    part.decode()
                except UnicodeDecodeError as error:
                    raise EntryError(
                        Code.NOT_UTF8, shown, f"is not UTF-8 at byte {error.start}; encode it as UTF-8"
                    ) from None
        raise


def _name(fields: Mapping[str, str], name: str) -> str:
    value = fields.get(name)
    if value is None:
        raise EntryError(Code.MISSING_FIELD, name, "is missing; every entry needs it")
    if not value.strip(_INVISIBLE):
        raise EntryError(Code.EMPTY_FIELD, name, f"is empty; give 1 to {MAX_ID_CHARS} characters")
    if len(value) > MAX_ID_CHARS:
        raise EntryError(Code.TOO_LONG, name, f"has {len(value)} characters; at most {MAX_ID_CHARS} are allowed")
    if _CONTROL.search(value) or "\n" in value or "\r" in value or "\t" in value:
        raise EntryError(Code.BAD_CHARACTER, name, "holds a control character; remove it")
    return value


def _item_text(fields: Mapping[str, str]) -> str:
    text = fields.get("text")
    if text is None:
        raise EntryError(Code.MISSING_FIELD, "text", "is missing; every entry needs it")
    if len(text) > MAX_TEXT_CHARS:
        raise EntryError(
            Code.TOO_LONG, "text", f"has {len(text)} characters; at most {MAX_TEXT_CHARS} are allowed: cut it"
        )
    # Neither a model nor Postgres can use them, and they come from broken exports of good texts.
    text = _CONTROL.sub(" ", text)
    if not text.strip(_INVISIBLE):
        raise EntryError(Code.EMPTY_FIELD, "text", f"is empty; give 1 to {MAX_TEXT_CHARS} characters")
    return text


def _kind(fields: Mapping[str, str]) -> Kind:
    value = fields.get("kind")
    if value is None:
        return Kind.COMMENT
    try:
        return Kind(value)
    except ValueError:
        raise EntryError(Code.UNKNOWN_KIND, "kind", f"is {value!r:.60}; use comment or ticket") from None


def _tasks(value: str) -> tuple[Task, ...]:
    names = [name.strip() for name in value.split(",")]
    try:
        return tuple(dict.fromkeys(Task(name) for name in names))
    except ValueError:
        raise EntryError(
            Code.UNKNOWN_TASK, "tasks", f"is {value!r:.60}; use sentiment, routing or sentiment,routing"
        ) from None


def _time(fields: Mapping[str, str], name: str) -> datetime | None:
    value = fields.get(name)
    if value is None:
        return None
    try:
        if not _RFC3339.fullmatch(value):
            raise ValueError
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise EntryError(
            Code.BAD_TIME, name, f"is {value!r:.60}; give RFC 3339 with a zone, such as 2026-01-31T08:00:00+08:00"
        ) from None


def _reply_to(fields: Mapping[str, str], keys: Keys) -> str | None:
    if "reply_to" not in fields:
        return None
    value = _name(fields, "reply_to")
    if not value.startswith(keys.reply_prefix) or value == keys.reply_prefix:
        raise EntryError(Code.BAD_VALUE, "reply_to", f"must be a stream whose name starts with {keys.reply_prefix}")
    return value


def _meta(fields: Mapping[str, str]) -> Mapping[str, Any]:
    meta: dict[str, Any] = {}
    if "meta" in fields:
        value = _json(fields, "meta", MAX_META_BYTES)
        if not isinstance(value, dict):
            raise EntryError(Code.BAD_JSON, "meta", 'must be a JSON object such as {"plan": "free"}')
        meta = value
    unknown = fields.keys() - KNOWN_FIELDS
    if unknown:
        for name in sorted(unknown):
            if "\0" in name or "\0" in fields[name]:
                raise EntryError(Code.BAD_CHARACTER, name.replace("\0", "\\0"), "holds a NUL; remove it")
            meta.setdefault(name, fields[name])
        if len(json.dumps(meta, ensure_ascii=False).encode()) > MAX_META_BYTES:
            raise EntryError(
                Code.TOO_LONG, "meta", f"is over {MAX_META_BYTES} bytes together with the unknown fields it keeps"
            )
    return meta


def _json(fields: Mapping[str, str], name: str, most_bytes: int) -> object:
    value = fields[name]
    size_bytes = len(value.encode())
    if size_bytes > most_bytes:
        raise EntryError(Code.TOO_LONG, name, f"has {size_bytes} bytes; at most {most_bytes} are allowed")
    try:
        parsed = json.loads(value, parse_constant=_no_constant)
        # 1e999 parses to infinity, which is no JSON: let it fail here and not in Postgres.
        plain = json.dumps(parsed, ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise EntryError(Code.BAD_JSON, name, f"is not valid JSON: {str(error)[:200]}") from None
    texts, levels = _texts_and_levels(parsed)
    if levels > MAX_JSON_LEVELS:
        raise EntryError(Code.BAD_JSON, name, f"is nested over {MAX_JSON_LEVELS} levels deep; make it flatter")
    if _half_pair(plain) or "\0" in texts:
        raise EntryError(Code.BAD_JSON, name, "holds \\u0000 or half of a surrogate pair; remove it")
    return parsed


def _texts_and_levels(value: object) -> tuple[str, int]:
    """All text inside a JSON value, joined, and how deep it is nested."""
    parts: list[str] = []
    levels = 0
    rest = [value]
    while rest:
        levels += 1
        below: list[object] = []
        for part in rest:
            match part:
                case str():
                    parts.append(part)
                case dict():
                    below.extend(part.keys())
                    below.extend(part.values())
                case list():
                    below.extend(part)
                case _:
                    pass
        rest = below
    return "".join(parts), levels


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON value; use null")


def _labels(fields: Mapping[str, str]) -> LabelSet | None:
    if "labels" not in fields:
        return None
    try:
        return label_set(_json(fields, "labels", MAX_LABELS_BYTES))
    except LabelsError as error:
        raise EntryError(Code.BAD_LABELS, "labels", str(error)) from None


def _template(fields: Mapping[str, str]) -> str | None:
    value = fields.get("template")
    if value is None:
        return None
    if value.count("{}") != 1 or len(value) > MAX_TEMPLATE_CHARS or "\0" in value:
        raise EntryError(
            Code.BAD_VALUE, "template",
            f"must hold {{}} once, where the label goes, in at most {MAX_TEMPLATE_CHARS} characters",
        )  # fmt: skip
    return value


def _flag(fields: Mapping[str, str], name: str, *, default: bool) -> bool:
    value = fields.get(name)
    if value is None:
        return default
    try:
        return _YES[value.strip().lower()]
    except KeyError:
        raise EntryError(Code.BAD_VALUE, name, f"is {value!r:.60}; use yes or no") from None


def _half_pair(text: str) -> bool:
    return any("\ud800" <= ch <= "\udfff" for ch in text)


def _storable(value: bytes) -> str | None:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _json_value(value: bytes) -> Any:
    text = _storable(value)
    return {"base64": base64.b64encode(value).decode()} if text is None else text


def _from_json_value(value: Any) -> bytes:
    return base64.b64decode(value["base64"]) if isinstance(value, dict) else str(value).encode()


_KEY_MARK = "base64:"


def _json_key(name: bytes) -> str:
    text = _storable(name)
    if text is None or text.startswith(_KEY_MARK):
        return _KEY_MARK + base64.b64encode(name).decode()
    return text


def _from_json_key(name: str) -> bytes:
    return base64.b64decode(name.removeprefix(_KEY_MARK)) if name.startswith(_KEY_MARK) else name.encode()
