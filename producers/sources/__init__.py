"""Rows of items from files and pipes: CSV, JSON lines, Parquet, plain lines; gzip too. Streamed, never all in memory.

Column names are the inbox fields; columns that the contract does not know go along and end in meta. What a
row may hold is checked later, by `producers.item` and `schemas.messages`.
"""

from __future__ import annotations

from producers.sources.columns import Columns, stable_id
from producers.sources.opened import STDIN, Opened
from producers.sources.row import BadRow, Format, Row
from producers.sources.source import Source
from producers.sources.text import MAX_LINE_CHARS

__all__ = ["MAX_LINE_CHARS", "STDIN", "BadRow", "Columns", "Format", "Opened", "Row", "Source", "stable_id"]
