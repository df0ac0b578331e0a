"""Which columns of a source become which fields of an item."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.errors import SourceError
from schemas.fields import KNOWN_FIELDS


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of columns. Those named as fields are these fields; `meta` None keeps all others, else only the named.

    A column `id` or `text` that is not the one with the id or text goes along as `column_id` or `column_text`.
    """

    id: str = "id"
    text: str = "text"
    created_at: str = "created_at"
    updated_at: str = "updated_at"
    meta: frozenset[str] | None = None

    def wanted(self, columns: Sequence[str]) -> list[str]:
        """Those of `columns` that are used at all."""
        return [column for column in columns if self.field_of(column) is not None]

    def field_of(self, column: str) -> str | None:
        """The field that `column` becomes; None where it is left out."""
        named = {self.updated_at: "updated_at", self.created_at: "created_at", self.id: "id", self.text: "text"}
        if column in named:
            return named[column]
        if column in {"created_at", "updated_at"} or not column:
            return None
        own = column in {"id", "text"}
        if self.meta is not None and column not in self.meta and (own or column not in KNOWN_FIELDS):
            return None
        return f"column_{column}" if own else column

    def check(self, name: str, columns: Sequence[str]) -> None:
        """Raise SourceError if `columns` lack one that was named, or hold one twice."""
        shown = ", ".join(columns) or "none"
        if self.text not in columns:
            raise SourceError(f"{name}: has no column {self.text!r} (columns: {shown}); name the one with the text")
        named = {self.id, self.created_at, self.updated_at, *(self.meta or ())} - {"id", "created_at", "updated_at"}
        for column in sorted(named):
            if column not in columns:
                raise SourceError(f"{name}: has no column {column!r} (columns: {shown})")
        twice = next((column for column, count in Counter(columns).items() if count > 1), None)
        if twice is not None:
            raise SourceError(f"{name}: has the column {twice!r} twice; rename one")

    def fields(self, name: str, number: int, values: Mapping[str, Any], known: dict[str, str | None]) -> dict[str, Any]:
        """Columns as fields: blank ones left out, except id and text. `known` remembers `field_of` between rows.

        A row without an id gets `stable_id` of the source's `name`, its `number` and its text.
        """
        text = values.get(self.text)
        given_id = values.get(self.id)
        text = "" if text is None else text
        row = {"id": stable_id(name, number, str(text)) if given_id is None else given_id, "text": text}
        for column, value in values.items():
            if value is None or value != value or (value.__class__ is str and not value.strip()):  # noqa: PLR0124
                continue
            try:
                field = known[column]
            except KeyError:
                field = known[column] = self.field_of(column)
            if field is not None and field not in row:
                row[field] = value
        return row


def stable_id(name: str, line: int, text: str) -> str:
    """The id of an item that has none: its line and a digest of file name, line and text.

    The same file enqueued again gives the same ids, and so no item twice; equal texts on different lines, or in
    files of different names, stay different items. Lines inserted further up make new items of those below.
    """
    digest = hashlib.blake2b(f"{name}\n{line}\n{text}".encode("utf-8", "surrogatepass"), digest_size=8)
    return f"{line}-{digest.hexdigest()}"
