"""The rules of each field of an inbox entry: what it may hold, and the error that names it when it does not.

Which fields make an entry is `schemas.messages`'. Every function raises EntryError.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from schemas.errors import Code, EntryError, LabelsError
from schemas.labels import LabelSet, label_set, parse_labels_text
from schemas.names import Keys, Kind, Task

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

CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_HALF_PAIR = re.compile("[\ud800-\udfff]")
INVISIBLE = " \t\r\n\u3000\u00a0\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
_YES = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def texts(raw: Mapping[bytes, bytes]) -> dict[str, str]:
    """All names and values as text. Raises EntryError that names the field that is not UTF-8."""
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


def is_plain(text: str, *names: str) -> bool:
    """Whether these keep the rules of a text and of names at a glance; False only means that it takes a closer look.

    Printable text holds no control character, no half pair and no blank but U+0020.
    """
    for value in names:
        if not (value[:1] > " " and len(value) <= MAX_ID_CHARS and value.isprintable()):
            return False
    return text[:1] > " " and len(text) <= MAX_TEXT_CHARS and text.isprintable()


def name_of(fields: Mapping[str, str], name: str) -> str:
    """A field that names something: 1 to MAX_ID_CHARS characters, no control characters."""
    value = fields.get(name)
    if value is None:
        raise EntryError(Code.MISSING_FIELD, name, "is missing; every entry needs it")
    if not value.strip(INVISIBLE):
        raise EntryError(Code.EMPTY_FIELD, name, f"is empty; give 1 to {MAX_ID_CHARS} characters")
    if len(value) > MAX_ID_CHARS:
        raise EntryError(Code.TOO_LONG, name, f"has {len(value)} characters; at most {MAX_ID_CHARS} are allowed")
    if CONTROL.search(value) or "\n" in value or "\r" in value or "\t" in value:
        raise EntryError(Code.BAD_CHARACTER, name, "holds a control character; remove it")
    return value


def item_text(fields: Mapping[str, str]) -> str:
    """The text, its control characters replaced by spaces."""
    text = fields.get("text")
    if text is None:
        raise EntryError(Code.MISSING_FIELD, "text", "is missing; every entry needs it")
    if len(text) > MAX_TEXT_CHARS:
        raise EntryError(
            Code.TOO_LONG, "text", f"has {len(text)} characters; at most {MAX_TEXT_CHARS} are allowed: cut it"
        )
    # Neither a model nor Postgres can use them, and they come from broken exports of good texts.
    text = CONTROL.sub(" ", text)
    if not text.strip(INVISIBLE):
        raise EntryError(Code.EMPTY_FIELD, "text", f"is empty; give 1 to {MAX_TEXT_CHARS} characters")
    return text


def kind_of(fields: Mapping[str, str]) -> Kind:
    """The kind of item; a comment where none is given."""
    value = fields.get("kind")
    if value is None:
        return Kind.COMMENT
    try:
        return Kind(value)
    except ValueError:
        raise EntryError(Code.UNKNOWN_KIND, "kind", f"is {value!r:.60}; use comment or ticket") from None


def tasks_of(value: str) -> tuple[Task, ...]:
    """The tasks of a comma-separated list, each once."""
    names = [name.strip() for name in value.split(",")]
    try:
        return tuple(dict.fromkeys(Task(name) for name in names))
    except ValueError:
        raise EntryError(
            Code.UNKNOWN_TASK, "tasks", f"is {value!r:.60}; use sentiment, routing or sentiment,routing"
        ) from None


def time_of(fields: Mapping[str, str], name: str) -> datetime | None:
    """An RFC 3339 time in UTC, or None where the field is not given."""
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


def reply_stream(fields: Mapping[str, str], keys: Keys) -> str | None:
    """The stream that gets the reply, or None."""
    if "reply_to" not in fields:
        return None
    value = name_of(fields, "reply_to")
    if not value.startswith(keys.reply_prefix) or value == keys.reply_prefix:
        raise EntryError(Code.BAD_VALUE, "reply_to", f"must be a stream whose name starts with {keys.reply_prefix}")
    return value


def meta_of(fields: Mapping[str, str]) -> Mapping[str, Any]:
    """`meta` and the unknown fields, which are kept in it; what `meta` itself says goes first."""
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
        parsed = _DECODER.decode(value)
        # 1e999 parses to infinity, which is no JSON: let it fail here and not in Postgres.
        plain = _ENCODER.encode(parsed)
    except (ValueError, RecursionError) as error:
        raise EntryError(Code.BAD_JSON, name, f"is not valid JSON: {str(error)[:200]}") from None
    if "\\u" not in value and value.count("{") + value.count("[") <= MAX_JSON_LEVELS:
        return parsed  # neither escapes nor depth to look for
    texts, levels = _texts_and_levels(parsed)
    if levels > MAX_JSON_LEVELS:
        raise EntryError(Code.BAD_JSON, name, f"is nested over {MAX_JSON_LEVELS} levels deep; make it flatter")
    if half_pair(plain) or "\0" in texts:
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


_DECODER = json.JSONDecoder(parse_constant=_no_constant)
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


def labels_of(fields: Mapping[str, str]) -> LabelSet | None:
    """The caller's own labels, or None; a JSON string is names with commas between them."""
    if "labels" not in fields:
        return None
    try:
        value = _json(fields, "labels", MAX_LABELS_BYTES)
        return parse_labels_text(value) if isinstance(value, str) else label_set(value)
    except LabelsError as error:
        raise EntryError(Code.BAD_LABELS, "labels", str(error)) from None


def template_of(fields: Mapping[str, str]) -> str | None:
    """The caller's own template, or None."""
    value = fields.get("template")
    if value is None:
        return None
    if value.count("{}") != 1 or len(value) > MAX_TEMPLATE_CHARS or "\0" in value:
        raise EntryError(
            Code.BAD_VALUE, "template",
            f"must hold {{}} once, where the label goes, in at most {MAX_TEMPLATE_CHARS} characters",
        )  # fmt: skip
    return value


def flag(fields: Mapping[str, str], name: str, *, default: bool) -> bool:
    """A yes or no."""
    value = fields.get(name)
    if value is None:
        return default
    try:
        return _YES[value.strip().lower()]
    except KeyError:
        raise EntryError(Code.BAD_VALUE, name, f"is {value!r:.60}; use yes or no") from None


def half_pair(text: str) -> bool:
    """Whether half of a surrogate pair stands in `text`, which no UTF-8 can hold."""
    return _HALF_PAIR.search(text) is not None
