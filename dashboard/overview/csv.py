"""Rows as CSV that spreadsheets open: UTF-8 with a mark that says so, times as ISO, and no cell that is a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

_MARK = "\ufeff"
# Excel takes full-width signs for plain ones where Chinese or Japanese is written.
_FORMULA_BEGINS = tuple("=+-@＝＋－＠\t\r\n")


def to_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """A header and a line per row. Null is an empty cell."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return (_MARK + out.getvalue()).encode()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, str) and value.startswith(_FORMULA_BEGINS):
        # A spreadsheet would run it: texts come from anybody.
        return "'" + value
    return str(value)
