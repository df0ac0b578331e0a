"""Cells of the tables that commands print. What they show was written by others: no markup, no control characters."""

from __future__ import annotations

from rich.text import Text

from schemas.printable import printable


def cell(value: str, style: str = "") -> Text:
    """`value` as it is; its lines stay lines."""
    return Text(printable(value, keep="\n\t"), style=style)
