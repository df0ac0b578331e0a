"""Rows of items from files and pipes: CSV, JSON lines, Parquet, plain lines; gzip too. Streamed, never all in memory.

Column names are the inbox fields; columns that the contract does not know go along and end in meta. What a
row may hold is checked later, by `producers.client`.
"""

from __future__ import annotations

import codecs
import csv
import enum
import gzip
import hashlib
import io
import json
import re
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, Self, cast

from schemas.errors import SetupError, SourceError

STDIN = "-"
MAX_LINE_CHARS = 1_048_576
_BATCH_ROWS = 1024
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_GZIP_MARK = b"\x1f\x8b"
_PARQUET_MARK = b"PAR1"
_JSON_OBJECT = re.compile(r'\{\s*"')
_UNDECODED = re.compile("[\udc80-\udcff]")
_BROKEN = (OSError, EOFError, zlib.error, UnicodeError)


class Format(enum.StrEnum):
    """How a source is written."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    LINES = "lines"


_SUFFIXES = {
    ".csv": Format.CSV, ".tsv": Format.CSV, ".jsonl": Format.JSONL, ".ndjson": Format.JSONL, ".json": Format.JSONL,
    ".parquet": Format.PARQUET, ".pq": Format.PARQUET, ".txt": Format.LINES,
}  # fmt: skip


class Row(dict[str, Any]):
    """One item by field name, as `producers.client` takes it, and the line (Parquet: the row) it begins on."""

    __slots__ = ("line",)

    def __init__(self, line: int, values: dict[str, Any]) -> None:
        super().__init__(values)
        self.line = line


class BadRow(NamedTuple):
    """A row that cannot be read; the rows after it can. The error names the line and the fix."""

    line: int
    error: SourceError


class Source:
    """The rows of one file, or of standard input (`-`). A context manager; iterate over it once.

    `format`: None goes by the file's suffix, else by its first line. `id_column` and `text_column` name the
    columns that become `id` and `text`. A row without an id column gets `stable_id`. Blank cells are left out,
    except id and text. Raises SourceError for what stops the whole source, and yields BadRow for what does not.
    """

    def __init__(
        self,
        path: str,
        *,
        format: Format | None = None,
        encoding: str = "utf-8-sig",
        id_column: str = "id",
        text_column: str = "text",
    ) -> None:
        self.name = "stdin" if path == STDIN else Path(path).name
        self._encoding = encoding
        self._id_column = id_column
        self._text_column = text_column
        self._files: list[IO[bytes]] = []
        self._stream: io.TextIOWrapper | None = None
        self._rows = self._rows_read = 0
        try:
            self._raw, self._file = self._open(path)
            self.format = format or self._guess_format()
        except _BROKEN as error:
            self.close()
            raise SourceError(f"{path}: {_reason(error)}") from error
        self._size_bytes = 0 if path == STDIN else Path(path).stat().st_size

    @property
    def unit(self) -> str:
        """What a row's number counts: lines, or rows of a Parquet file."""
        return "row" if self.format is Format.PARQUET else "line"

    @property
    def share_read(self) -> float | None:
        """How much of the source has been read, from 0 to 1; None where nobody knows, as on a pipe."""
        if self._rows:
            return self._rows_read / self._rows
        if not self._size_bytes or self._raw.closed:
            return None
        return min(1.0, self._raw.tell() / self._size_bytes)

    def __iter__(self) -> Iterator[Row | BadRow]:
        read = {
            Format.CSV: self._csv,
            Format.JSONL: self._jsonl,
            Format.PARQUET: self._parquet,
            Format.LINES: self._lines,
        }[self.format]
        try:
            yield from read()
        except _BROKEN as error:
            raise SourceError(f"{self.name}: {_reason(error)}") from error

    def close(self) -> None:
        """Close what this source opened, which standard input is not."""
        if self._stream is not None:
            self._stream.detach()
            self._stream = None
        while self._files:
            self._files.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, path: str) -> tuple[IO[bytes], io.BufferedReader[Any]]:
        """The file as it lies there (for the position in it), and what it says, unpacked."""
        if path == STDIN:
            raw = cast(io.BufferedReader, sys.stdin.buffer)
        else:
            raw = cast(io.BufferedReader, Path(path).open("rb", buffering=65_536))  # noqa: SIM115 - see close
            self._files.append(raw)
        if not raw.peek(2).startswith(_GZIP_MARK):
            return raw, raw
        self.name = self.name.removesuffix(".gz")
        unpacked = io.BufferedReader(cast(io.RawIOBase, gzip.GzipFile(fileobj=raw, mode="rb")), 65_536)
        self._files.append(unpacked)
        return raw, unpacked

    def _guess_format(self) -> Format:
        known = _SUFFIXES.get(Path(self.name).suffix.lower())
        if known:
            return known
        start = self._file.peek(8192)[:8192]
        if start.startswith(_PARQUET_MARK):
            return Format.PARQUET
        text = start.decode(self._encoding, "replace").lstrip()
        if _JSON_OBJECT.match(text):
            return Format.JSONL
        return Format.CSV if _delimiter(text, self._text_column) else Format.LINES

    def _text(self) -> io.TextIOWrapper:
        """The decoded file. A byte that cannot be decoded spoils its row only, and so is kept in disguise."""
        if self._encoding == "utf-8-sig" and self._file.peek(2).startswith(_UTF16_MARKS):
            raise SourceError(f"{self.name}: is UTF-16; save it as UTF-8, or name its encoding: utf-16")
        self._stream = io.TextIOWrapper(self._file, encoding=self._encoding, errors="surrogateescape", newline="")
        return self._stream

    def _numbered_lines(self) -> Iterator[tuple[int, str] | BadRow]:
        """Lines that are not blank, without their ends, counted from 1."""
        stream = self._text()
        number = 0
        while line := stream.readline(MAX_LINE_CHARS):
            number += 1
            if len(line) == MAX_LINE_CHARS and not line.endswith(("\n", "\r")):
                while (rest := stream.readline(MAX_LINE_CHARS)) and not rest.endswith(("\n", "\r")):
                    pass
                yield self._bad(number, f"has over {MAX_LINE_CHARS} characters; cut it")
            elif _UNDECODED.search(line):
                yield self._undecoded(number)
            elif line.strip():
                yield number, line.rstrip("\r\n")

    def _lines(self) -> Iterator[Row | BadRow]:
        for line in self._numbered_lines():
            if isinstance(line, BadRow):
                yield line
            else:
                number, text = line
                yield Row(number, {"id": stable_id(self.name, number, text), "text": text})

    def _jsonl(self) -> Iterator[Row | BadRow]:
        first = True
        for line in self._numbered_lines():
            if isinstance(line, BadRow):
                yield line
                continue
            number, text = line
            if first and text.lstrip().startswith("["):
                raise SourceError(f"{self.name}: is one JSON array; write one object a line, as `jq -c '.[]'` does")
            first = False
            try:
                values = json.loads(text)
            except (ValueError, RecursionError) as error:
                yield self._bad(number, f"is not JSON: {error}; write one object a line")
                continue
            if not isinstance(values, dict):
                yield self._bad(number, "is not a JSON object; write {} with at least a text".format('{"text": …}'))
            elif self._text_column not in values:
                yield self._bad(number, f"has no {self._text_column!r}; name the field that holds the text")
            else:
                yield self._row(number, values)

    def _csv(self) -> Iterator[Row | BadRow]:
        stream = self._text()
        header_line = stream.readline(MAX_LINE_CHARS)
        delimiter = _delimiter(header_line, self._text_column) or ","
        columns = [cell.strip() for cell in next(csv.reader([header_line], delimiter=delimiter), [])]
        self._check_columns(columns)
        # Strict, since a quote left open would take all rows after it for one text.
        reader = csv.reader(self._csv_lines(stream), delimiter=delimiter, strict=True)
        last = 1
        while True:
            number = last + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                last = 1 + reader.line_num
                yield self._bad(number, f"cannot be read, up to line {last}: {error}; look for a quote left open")
                continue
            last = 1 + reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) > len(columns):
                yield self._bad(
                    number, f"has {len(cells)} cells for {len(columns)} columns; quote cells that hold {delimiter!r}"
                )
            elif any(_UNDECODED.search(cell) for cell in cells):
                yield self._undecoded(number)
            else:
                yield self._row(number, dict(zip(columns, cells, strict=False)))

    def _csv_lines(self, stream: io.TextIOWrapper) -> Iterator[str]:
        number = 1
        while line := stream.readline(MAX_LINE_CHARS):
            number += 1
            if len(line) == MAX_LINE_CHARS:
                raise SourceError(f"{self.name}: line {number} has over {MAX_LINE_CHARS} characters; is this CSV?")
            yield line

    def _parquet(self) -> Iterator[Row | BadRow]:
        try:
            import pyarrow
            from pyarrow import parquet
        except ModuleNotFoundError:
            raise SetupError("reading Parquet needs pyarrow: pip install 'fenliu[parquet]'") from None
        file: Any = self._file
        if self._raw is not self._file or not self._raw.seekable():
            file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the source; Parquet is read from its end
            self._files.append(file)
            shutil.copyfileobj(self._file, file)
            file.seek(0)
        try:
            table = parquet.ParquetFile(file)
            self._check_columns(table.schema_arrow.names)
            self._rows = table.metadata.num_rows
            for batch in table.iter_batches(batch_size=_BATCH_ROWS):
                for values in batch.to_pylist():
                    self._rows_read += 1
                    yield self._row(self._rows_read, values)
        except pyarrow.ArrowException as error:
            raise SourceError(f"{self.name}: cannot be read as Parquet: {error}") from error

    def _check_columns(self, columns: list[str]) -> None:
        shown = ", ".join(columns) or "none"
        if self._text_column not in columns:
            raise SourceError(
                f"{self.name}: has no column {self._text_column!r} (columns: {shown}); name the one with the text"
            )
        if self._id_column not in columns and self._id_column != "id":
            raise SourceError(f"{self.name}: has no column {self._id_column!r} (columns: {shown})")
        twice = next((column for column in columns if columns.count(column) > 1), None)
        if twice is not None:
            raise SourceError(f"{self.name}: has the column {twice!r} twice; rename one")

    def _row(self, number: int, values: dict[str, Any]) -> Row:
        """Columns as fields: id and text under their own names, blank ones left out."""
        text = values.pop(self._text_column, None)
        text = "" if text is None else text
        given_id = values.pop(self._id_column, None)
        row = {"id": stable_id(self.name, number, str(text)) if given_id is None else given_id, "text": text}
        displaced = {name: values.pop(name) for name in ("id", "text") if name in values}
        for name, value in values.items():
            blank = value is None or value != value or (isinstance(value, str) and not value.strip())  # noqa: PLR0124
            if name and not blank:
                row[name] = value
        for name, value in displaced.items():
            row.setdefault(f"column_{name}", value)
        return Row(number, row)

    def _bad(self, number: int, problem: str) -> BadRow:
        return BadRow(number, SourceError(f"{self.unit} {number}: {problem}"))

    def _undecoded(self, number: int) -> BadRow:
        encoding = "UTF-8" if self._encoding == "utf-8-sig" else self._encoding
        return self._bad(number, f"is not {encoding}; save the file as UTF-8, or name its encoding, such as gb18030")


def stable_id(name: str, line: int, text: str) -> str:
    """The id of an item that has none: its line and a digest of file name, line and text.

    The same file enqueued again gives the same ids, and so no item twice; equal texts on different lines, or in
    files of different names, stay different items. Lines inserted further up make new items of those below.
    """
    digest = hashlib.blake2b(f"{name}\n{line}\n{text}".encode("utf-8", "surrogatepass"), digest_size=8)
    return f"{line}-{digest.hexdigest()}"


def _delimiter(header: str, text_column: str) -> str | None:
    """What parts the cells of a header line that names the text's column; None if none does."""
    line = header.lstrip("\ufeff").partition("\n")[0].rstrip("\r")
    for delimiter in (",", "\t", ";"):
        cells = next(csv.reader([line], delimiter=delimiter), [])
        if text_column in (cell.strip() for cell in cells):
            return delimiter
    return None


def _reason(error: BaseException) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error) or "ends too early"
