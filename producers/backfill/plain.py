"""The short way from a row to the fields of an entry, for rows whose values are right at a glance.

What it gives is what `producers.item.fields_of` gives and `schemas.messages.check_fields` lets pass; where it cannot
be sure at once it gives nothing, and the row goes the long way.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from schemas.fields import KNOWN_FIELDS, MAX_ID_CHARS, MAX_META_BYTES, MAX_TEXT_CHARS
from schemas.names import Kind

# A character takes at most 4 bytes, and each field some punctuation.
_MOST_META_CHARS = MAX_META_BYTES // 4 - 512
_MOST_FIELDS = 60
_MOST_INT = 2**63
_LAST_YEAR = 9999  # no zone moves a time before it out of what Python can hold
_KINDS = frozenset(kind.value for kind in Kind)


class _Role(enum.IntEnum):
    NAME = 0
    TEXT = 1
    TIME = 2
    KIND = 3
    META = 4
    OTHER = 5


_ROLES = {
    "id": _Role.NAME, "source": _Role.NAME, "text": _Role.TEXT, "kind": _Role.KIND,
    "created_at": _Role.TIME, "updated_at": _Role.TIME,
}  # fmt: skip


class PlainRows:
    """Remembers what each field's name asks for."""

    def __init__(self) -> None:
        self._roles: dict[str, tuple[_Role, str]] = {}

    def fields(self, row: Mapping[str, Any]) -> dict[str, str] | None:  # noqa: PLR0911, PLR0912 - a way out for each role
        """The fields, or None where it takes a closer look."""
        if len(row) > _MOST_FIELDS:
            return None
        roles = self._roles
        fields: dict[str, str] = {}
        numbers: list[str] = []
        meta_chars = 0
        for name, value in row.items():
            try:
                role, key = roles[name]
            except KeyError:
                role, key = self._learn(name)
            kind = type(value)
            if role is _META:
                meta_chars += len(name)
                if kind is str:
                    if not value.isprintable():
                        return None
                    meta_chars += len(value)
                    fields[name] = value
                elif kind is int and -_MOST_INT < value < _MOST_INT:
                    numbers.append(f"{key}{value}")
                else:
                    return None
            elif kind is str:
                if role is _TEXT:
                    most = MAX_TEXT_CHARS
                elif role is _NAME or (role is _KIND and value in _KINDS):
                    most = MAX_ID_CHARS
                else:
                    return None
                # Printable text holds no control character, no half pair and no blank but U+0020.
                if not (value.isprintable() and 0 < len(value) <= most and value[0] != " "):
                    return None
                fields[name] = value
            elif role is _TIME and kind is datetime and value.tzinfo is not None and 1 < value.year < _LAST_YEAR:
                fields[name] = value.astimezone(UTC).isoformat()
            elif name == "id" and kind is int and -_MOST_INT < value < _MOST_INT:
                fields[name] = str(value)
            else:
                return None
        if meta_chars > _MOST_META_CHARS or "id" not in fields or "text" not in fields:
            return None
        if numbers:
            fields["meta"] = "{" + ",".join(numbers) + "}"
        return fields

    def _learn(self, name: str) -> tuple[_Role, str]:
        role = _ROLES.get(name)
        if role is None:
            role = _OTHER if name in KNOWN_FIELDS or not name.isprintable() else _META
        self._roles[name] = known = (role, json.dumps(name, ensure_ascii=False) + ":")
        return known


_NAME, _TEXT, _TIME, _KIND, _META, _OTHER = _Role
