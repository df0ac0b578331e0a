"""One row of a source, good or bad, and how sources are written."""

from __future__ import annotations

import enum
from typing import Any, NamedTuple

from schemas.errors import SourceError


class Format(enum.StrEnum):
    """How a source is written."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    LINES = "lines"


class Row(dict[str, Any]):
    """One item by field name, as `producers.client` takes it, and the lines (Parquet: the row) it stands on."""

    __slots__ = ("end", "line")

    def __init__(self, line: int, values: dict[str, Any], end: int | None = None) -> None:
        super().__init__(values)
        self.line = line
        self.end = line if end is None else end


class BadRow(NamedTuple):
    """A row that cannot be read; the rows after it can. The error names the line and the fix."""

    line: int
    error: SourceError
    end: int
