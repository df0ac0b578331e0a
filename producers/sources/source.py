"""One file or pipe of items: opened, its format known, its rows read one by one."""

from __future__ import annotations

import io
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from producers.sources.columns import Columns
from producers.sources.opened import BROKEN, UTF16_MARKS, Opened, reason
from producers.sources.parquet import ParquetRows
from producers.sources.row import BadRow, Format, Row
from producers.sources.text import TextRows
from schemas.errors import SourceError


class Source:
    """The rows of one file, or of standard input (`-`). A context manager; iterate over it once.

    `format`: None goes by the file's suffix, else by its first line. `id_column` and `text_column` name the
    columns that become `id` and `text`; `columns`, if given, says so for all columns. A row without an id column
    gets `stable_id`. Blank cells are left out, except id and text. `after_line`: begin behind the row that ended
    there; it may be set until then. `pipe` is read in the stead of standard input. Raises SourceError for what stops
    the whole source, and yields BadRow for what does not.
    """

    def __init__(
        self,
        path: str,
        *,
        format: Format | None = None,
        encoding: str = "utf-8-sig",
        id_column: str = "id",
        text_column: str = "text",
        columns: Columns | None = None,
        after_line: int = 0,
        pipe: io.BufferedReader | None = None,
    ) -> None:
        self._columns = columns or Columns(id_column, text_column)
        self._encoding = encoding
        self.after_line = after_line
        self._stream: io.TextIOWrapper | None = None
        self._parquet: ParquetRows | None = None
        self._rows_read = 0
        _check_encoding(encoding)
        self.opened = Opened(path, pipe)
        try:
            self.format = format or self.opened.guess_format(encoding, self._columns.text)
        except BROKEN as error:
            self.close()
            raise SourceError(f"{path}: {reason(error)}") from error

    @property
    def name(self) -> str:
        """The file's name without folder and `.gz`."""
        return self.opened.name

    @property
    def unit(self) -> str:
        """What a row's number counts: lines, or rows of a Parquet file."""
        return "row" if self.format is Format.PARQUET else "line"

    @property
    def share_read(self) -> float | None:
        """How much of the source has been read, from 0 to 1; None where nobody knows, as on a pipe."""
        if self._parquet is not None:
            return self._rows_read / self._parquet.total if self._parquet.total else None
        return self.opened.share_read

    def __iter__(self) -> Iterator[Row | BadRow]:
        last = 0
        try:
            for row in self._rows():
                last = row.end
                yield row
        except BROKEN as error:
            after = f"after {self.unit} {last}: " if last else ""
            raise SourceError(f"{self.name}: {after}{reason(error)}") from error

    def _rows(self) -> Iterator[Row | BadRow]:
        if self.format is Format.PARQUET:
            return self._parquet_rows()
        rows = TextRows(self._text(), self.name, self._encoding, self._columns, self.after_line)
        return {Format.CSV: rows.csv, Format.JSONL: rows.jsonl, Format.LINES: rows.lines}[self.format]()

    def close(self) -> None:
        """Close what this source opened, which standard input is not."""
        if self._stream is not None:
            self._stream.detach()
            self._stream = None
        self.opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _text(self) -> io.TextIOWrapper:
        """The decoded file. A byte that cannot be decoded spoils its row only, and so is kept in disguise."""
        if self._encoding == "utf-8-sig" and self.opened.file.peek(2).startswith(UTF16_MARKS):
            raise SourceError(f"{self.name}: is UTF-16; save it as UTF-8, or name its encoding: utf-16")
        self._stream = io.TextIOWrapper(self.opened.file, encoding=self._encoding, errors="surrogateescape", newline="")
        return self._stream

    def _parquet_rows(self) -> Iterator[Row | BadRow]:
        self._parquet = ParquetRows(self.opened, self._columns)
        known: dict[str, str | None] = {}
        for number, values in self._parquet.rows():
            self._rows_read = number
            if isinstance(values, SourceError):
                yield BadRow(number, values, number)
                continue
            yield Row(number, self._columns.fields(self.name, number, values, known))


def _check_encoding(encoding: str) -> None:
    """Raise SourceError for what is no encoding of texts, or one that cannot leave out what it cannot read."""
    try:
        io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="surrogateescape")
        b"\xff".decode(encoding, "surrogateescape")
    except UnicodeDecodeError:
        pass  # an encoding may be cut short by one byte, and right all the same
    except (LookupError, ValueError):
        raise SourceError(f"{encoding!r:.60} is no encoding of text; say utf-8 or gb18030") from None
