"""Rows as CSV that spreadsheets open: UTF-8 with a mark that says so, times as ISO, and no cell that is a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

_MARK = "\ufeff"
# Excel takes full-width signs for plain ones where Chinese or Japanese is written.
_FORMULA_SIGNS = tuple("=+-@＝＋－＠\t\r")


def to_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """A header and a line per row. Null is an empty cell."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return (_MARK + out.getvalue()).encode("utf-8", "replace")


def harmless(text: str) -> str:
    """Text that a spreadsheet would take for a formula, behind an apostrophe: it would run it, and anybody writes."""
    is_formula = text.startswith("\n") or text.lstrip(" \n").startswith(_FORMULA_SIGNS)
    return f"'{text}" if is_formula else text


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return harmless(value) if isinstance(value, str) else str(value)
