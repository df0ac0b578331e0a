"""The texts in an uploaded file: plain lines, CSV or JSON lines, in the encodings that people's tools write."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from dashboard.words import Words
from producers.sources import Columns, Format, Row, Source
from schemas.errors import SourceError

MOST_ROWS = 1_000
TEXT_COLUMNS = (
    "text",
    "content",
    "comment",
    "review",
    "message",
    "body",
    "内容",
    "文本",
    "评论",
    "正文",
    "text_content",
)
"""Names of the column with the texts that need not be said."""

_FORMATS = {
    ".csv": Format.CSV, ".tsv": Format.CSV, ".jsonl": Format.JSONL, ".ndjson": Format.JSONL, ".json": Format.JSONL,
    ".txt": Format.LINES,
}  # fmt: skip
_NO_TEXT = (b"\x1f\x8b", b"PK\x03\x04", b"PAR1", b"%PDF-")
_LOOKED_AT_BYTES = 1_024
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_MOST_BAD_LINES = 0.1
_DELIMITERS = ",\t;"


@dataclass(frozen=True, slots=True)
class FileText:
    """One row of a file: its line, and its text or what is wrong with it."""

    line: int
    text: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class FileTexts:
    """The first MOST_ROWS rows of a file; `is_cut`: whether it has more."""

    rows: tuple[FileText, ...]
    is_cut: bool


def read_texts(name: str, content: bytes, column: str, words: Words) -> FileTexts:
    """The texts of a file that was uploaded as `name`. `column`: the one that holds them, empty: found by its name.

    Raises SourceError that says why none can be read.
    """
    has_nul = b"\0" in content[:_LOOKED_AT_BYTES] and not content.startswith(_UTF16_MARKS)
    if has_nul or content.startswith(_NO_TEXT):
        raise SourceError(
            words("This is no text file. Send plain lines, CSV or JSON lines; of a spreadsheet, its CSV.")
        )
    encoding = encoding_of(content)
    head = content[:65_536].decode(encoding, "replace").lstrip("\ufeff")
    first_line = next((line for line in re.split("\r\n|\n|\r", head) if line.strip()), "")
    if not first_line:
        raise SourceError(words("There is no text in this file."))
    given = _FORMATS.get(Path(name).suffix.lower())
    column = column or _text_column(first_line, given)
    with Source(
        "-", format=given, encoding=encoding, columns=Columns(text=column), pipe=io.BufferedReader(io.BytesIO(content))
    ) as source:
        found = list(islice(source, MOST_ROWS + 1))
    rows = tuple(
        FileText(row.line, _text(row)) if isinstance(row, Row) else FileText(row.line, "", str(row.error))
        for row in found
    )
    if not rows:
        raise SourceError(words("There is no text in this file."))
    return FileTexts(rows[:MOST_ROWS], len(rows) > MOST_ROWS)


def encoding_of(content: bytes) -> str:
    """UTF-8 or UTF-16 by its mark, else UTF-8 where all but a few lines of it are, else GB18030 where all of it is.

    A few wrong bytes in a file of UTF-8 spoil their rows only.
    """
    if content.startswith(_UTF16_MARKS):
        return "utf-16"
    if _decodes(content, "utf-8"):
        return "utf-8-sig"
    lines = [line for line in content.splitlines() if not line.isascii()]
    bad = sum(not _decodes(line, "utf-8") for line in lines)
    if bad <= _MOST_BAD_LINES * len(lines) or not _decodes(content, "gb18030"):
        return "utf-8-sig"
    return "gb18030"


def _decodes(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _text_column(first_line: str, given: Format | None) -> str:
    """The first name of TEXT_COLUMNS that the file has, as a column of CSV or a field of JSON."""
    names: list[str] = []
    if given is not Format.LINES and first_line.lstrip().startswith("{"):
        try:
            first = json.loads(first_line)
        except (ValueError, RecursionError):
            first = {}
        names = [name for name, value in first.items() if isinstance(value, str)] if isinstance(first, dict) else []
    elif given is not Format.LINES:
        for delimiter in _DELIMITERS:
            names += [cell.strip() for cell in next(csv.reader([first_line], delimiter=delimiter), [])]
    if given is Format.CSV and len(names) == len(_DELIMITERS) and len(set(names)) == 1:
        return names[0] or TEXT_COLUMNS[0]  # a single column, whatever its name
    return next((name for name in TEXT_COLUMNS if name in names), TEXT_COLUMNS[0])


def _text(row: Row) -> str:
    text = row["text"]
    text = text if isinstance(text, str) else json.dumps(text, ensure_ascii=False)
    return text.encode(errors="replace").decode()  # JSON can hold half of a surrogate pair, which no page can
