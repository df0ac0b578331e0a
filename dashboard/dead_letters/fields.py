"""The raw fields of a dead letter as people see and change them, and back to bytes. No SQL and no Redis here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from starlette.datastructures import FormData

from schemas.fields import KNOWN_FIELDS
from schemas.raw import raw_from_json

NAMES = ("id", "text", *sorted(KNOWN_FIELDS - {"id", "text"}))
"""What an entry may hold, the needed ones first."""
_MOST_ROWS = 100
_SHORT_CHARS = 60


@dataclass(frozen=True, slots=True)
class FieldRow:
    """One field in the form.

    `key`: under which the letter has it, empty for a new one. `is_bytes`: it is no text and stays as it is until
    somebody puts text in its place; `value` then shows the bytes. `has_focus`: this is where to go on typing.
    """

    key: str
    name: str
    value: str
    is_bytes: bool = False
    problem: str = ""
    has_focus: bool = False

    @property
    def is_long(self) -> bool:
        """Whether it needs more than one line."""
        return self.name == "text" or len(self.value) > _SHORT_CHARS or "\n" in self.value or "\r" in self.value


def rows_of(raw: Mapping[str, Any]) -> list[FieldRow]:
    """A letter's fields as rows, in the order that `NAMES` has, others behind them."""
    rows = [_row(key, *_pair(key, raw)) for key in raw]
    return sorted(rows, key=lambda row: (NAMES.index(row.name) if row.name in NAMES else len(NAMES), row.name))


def rows_in(form: FormData, raw: Mapping[str, Any]) -> list[FieldRow]:
    """The rows that a form sends back. What a browser cannot hold is taken from the letter."""
    keys, names, values = ([str(value) for value in form.getlist(name)] for name in ("key", "name", "value"))
    kept = {str(key) for key in form.getlist("kept")}
    first = {row.key: row for row in rows_of(raw)}
    rows = []
    for key, name, value in list(zip(keys, names, values, strict=False))[:_MOST_ROWS]:
        of_letter = first.get(key)
        if of_letter is None:
            rows.append(FieldRow("", name.strip(), _typed(value, "")))
        elif not of_letter.is_bytes:
            rows.append(replace(of_letter, value=_typed(value, of_letter.value)))
        elif key in kept:
            rows.append(of_letter)
        else:
            rows.append(FieldRow(key, name, _typed(value, "")))
    return rows


def as_text(row: FieldRow, raw: Mapping[str, Any]) -> FieldRow:
    """A row of bytes as one of text: GB18030 where it is that, else with signs in place of what is no text."""
    name, value = (part.replace(b"\0", b" ") for part in _pair(row.key, raw))
    for encoding in ("utf-8", "gb18030"):
        try:
            return FieldRow(row.key, name.decode("utf-8", "replace"), value.decode(encoding), has_focus=True)
        except UnicodeDecodeError:
            continue
    return FieldRow(row.key, name.decode("utf-8", "replace"), value.decode("utf-8", "replace"), has_focus=True)


def to_raw(rows: Sequence[FieldRow], raw: Mapping[str, Any]) -> dict[bytes, bytes]:
    """The fields that the rows mean. Rows without name and value are none."""
    fields: dict[bytes, bytes] = {}
    for row in rows:
        if row.is_bytes:
            name, value = _pair(row.key, raw)
            fields[name] = value
        elif row.name or row.value:
            fields[row.name.encode()] = row.value.encode()
    return fields


def with_problem(rows: Sequence[FieldRow], field: str, problem: str) -> list[FieldRow]:
    """The rows with the problem beside the field at fault; one that is not there is put first."""
    names = [row.name for row in rows]
    if field not in names:
        return [FieldRow("", field, "", problem=problem, has_focus=True), *rows]
    return at_fault(rows, names.index(field), problem)


def at_fault(rows: Sequence[FieldRow], place: int, problem: str) -> list[FieldRow]:
    """The rows with the problem beside the one at this place, where typing goes on."""
    wrong = replace(rows[place], problem=problem, has_focus=True)
    return [*rows[:place], wrong, *rows[place + 1 :]]


def nameless(rows: Sequence[FieldRow]) -> int | None:
    """The place of the first row that has a value and no name."""
    return next((place for place, row in enumerate(rows) if row.value and not row.name), None)


def named_twice(rows: Sequence[FieldRow]) -> int | None:
    """The place of the first row whose name an earlier one has."""
    names = [row.name for row in rows]
    return next((place for place, name in enumerate(names) if name and name in names[:place]), None)


def _row(key: str, name: bytes, value: bytes) -> FieldRow:
    try:
        row = FieldRow(key, name.decode(), value.decode())
        is_bytes = "\0" in row.name + row.value
    except UnicodeDecodeError:
        is_bytes = True
    if not is_bytes:
        return row
    return FieldRow(key, _shown(name), _shown(value), is_bytes=True)


def _shown(part: bytes) -> str:
    return part.decode("utf-8", "backslashreplace").replace("\0", "\\x00")


def _pair(key: str, raw: Mapping[str, Any]) -> tuple[bytes, bytes]:
    [pair] = raw_from_json({key: raw[key]}).items()
    return pair


def _typed(value: str, before: str) -> str:
    """A value as it was meant: browsers send every end of a line as CRLF."""
    if value.replace("\r\n", "\n") == before.replace("\r\n", "\n").replace("\r", "\n"):
        return before
    return value if "\r\n" in before else value.replace("\r\n", "\n")
