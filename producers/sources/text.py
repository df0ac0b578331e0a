"""Rows of text files: CSV, JSON lines, plain lines. A row that cannot be read spoils no other."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator

from producers.sources.columns import Columns, stable_id
from producers.sources.opened import delimiter_of, header_cells
from producers.sources.row import BadRow, Row
from schemas.errors import SourceError

MAX_LINE_CHARS = 1_048_576
_UNDECODED = re.compile("[\udc80-\udcff]")


class TextRows:
    """The rows of a decoded stream, whose undecodable bytes are surrogate escapes.

    `after_line`: lines up to this one are passed over; it must be the `end` of a row that was read before.
    """

    def __init__(
        self, stream: io.TextIOWrapper, name: str, encoding: str, columns: Columns, after_line: int = 0
    ) -> None:
        self._stream = stream
        self._name = name
        self._encoding = "UTF-8" if encoding == "utf-8-sig" else encoding
        self._columns = columns
        self._after_line = after_line
        self._known: dict[str, str | None] = {}

    def lines(self) -> Iterator[Row | BadRow]:
        """Every line that is not blank is a text."""
        for line in self._numbered_lines():
            if isinstance(line, BadRow):
                yield line
            else:
                number, text = line
                yield Row(number, {"id": stable_id(self._name, number, text), "text": text})

    def jsonl(self) -> Iterator[Row | BadRow]:
        """Every line is a JSON object."""
        first = not self._after_line
        for line in self._numbered_lines():
            if isinstance(line, BadRow):
                yield line
                continue
            number, text = line
            if first and text.lstrip().startswith("["):
                raise SourceError(f"{self._name}: is one JSON array; write one object a line, as `jq -c '.[]'` does")
            first = False
            try:
                values = json.loads(text)
            except (ValueError, RecursionError) as error:
                yield _bad(number, f"is not JSON: {error}; write one object a line")
                continue
            if not isinstance(values, dict):
                yield _bad(number, "is not a JSON object; write {} with at least a text".format('{"text": …}'))
            elif self._columns.text not in values:
                yield _bad(number, f"has no {self._columns.text!r}; name the field that holds the text")
            else:
                yield Row(number, self._columns.fields(self._name, number, values, self._known))

    def csv(self) -> Iterator[Row | BadRow]:
        """The first line names the columns; a row may span several lines."""
        header_line = self._stream.readline(MAX_LINE_CHARS)
        if _UNDECODED.search(header_line):
            raise SourceError(f"{self._name}: {self._undecoded(1, 1).error}")
        delimiter = delimiter_of(header_line, self._columns.text) or ","
        columns = header_cells(header_line, delimiter)
        self._columns.check(self._name, columns)
        # Strict, since a quote left open would take all rows after it for one text.
        reader = csv.reader(self._csv_lines(), delimiter=delimiter, strict=True)
        before = last = max(1, self._after_line)
        while True:
            number = last + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                last = before + reader.line_num
                yield _bad(number, f"cannot be read, up to line {last}: {error}; look for a quote left open", last)
                continue
            last = before + reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) > len(columns):
                yield _bad(
                    number,
                    f"has {len(cells)} cells for {len(columns)} columns; quote cells that hold {delimiter!r}",
                    last,
                )
            elif any(_UNDECODED.search(cell) for cell in cells):
                yield self._undecoded(number, last)
            else:
                values = dict(zip(columns, cells, strict=False))
                yield Row(number, self._columns.fields(self._name, number, values, self._known), last)

    def _numbered_lines(self) -> Iterator[tuple[int, str] | BadRow]:
        """Lines that are not blank, without their ends, counted from 1."""
        stream = self._stream
        number = 0
        while line := stream.readline(MAX_LINE_CHARS):
            number += 1
            too_long = len(line) == MAX_LINE_CHARS and not line.endswith(("\n", "\r"))
            if too_long:
                while (rest := stream.readline(MAX_LINE_CHARS)) and not rest.endswith(("\n", "\r")):
                    pass
            if number <= self._after_line:
                continue
            if too_long:
                yield _bad(number, f"has over {MAX_LINE_CHARS} characters; cut it")
            elif _UNDECODED.search(line):
                yield self._undecoded(number, number)
            elif line.strip():
                yield number, line.rstrip("\r\n")

    def _csv_lines(self) -> Iterator[str]:
        number = 1
        while line := self._stream.readline(MAX_LINE_CHARS):
            number += 1
            if len(line) == MAX_LINE_CHARS:
                raise SourceError(f"{self._name}: line {number} has over {MAX_LINE_CHARS} characters; is this CSV?")
            if number > self._after_line:
                yield line

    def _undecoded(self, number: int, end: int) -> BadRow:
        problem = f"is not {self._encoding}; save the file as UTF-8, or name its encoding, such as gb18030"
        return _bad(number, problem, end)


def _bad(number: int, problem: str, end: int | None = None) -> BadRow:
    return BadRow(number, SourceError(f"line {number}: {problem}"), number if end is None else end)
