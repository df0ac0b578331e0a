"""A file or pipe, open: unpacked if it is gzip, with what is known of its size and its format."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import sys
import zlib
from pathlib import Path
from typing import IO, Any, cast

from producers.sources.row import Format
from schemas.errors import SourceError

STDIN = "-"
BROKEN = (OSError, EOFError, zlib.error, UnicodeError)
UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_BUFFER_BYTES = 65_536
_GZIP_MARK = b"\x1f\x8b"
_PARQUET_MARK = b"PAR1"
_JSON_OBJECT = re.compile(r'\{\s*"')
_SUFFIXES = {
    ".csv": Format.CSV, ".tsv": Format.CSV, ".jsonl": Format.JSONL, ".ndjson": Format.JSONL, ".json": Format.JSONL,
    ".parquet": Format.PARQUET, ".pq": Format.PARQUET, ".txt": Format.LINES,
}  # fmt: skip


class Opened:
    """`path`, or standard input (`-`), or `pipe` in its stead. Raises SourceError if it cannot be opened.

    `raw` is the file as it lies there, `file` what it says, `name` its name without folder and `.gz`.
    """

    def __init__(self, path: str, pipe: io.BufferedReader | None = None) -> None:
        self.name = "stdin" if path == STDIN else Path(path).name
        self._files: list[IO[bytes]] = []
        try:
            self.raw, self.file = self._open(path, pipe)
            self._size_bytes = 0 if path == STDIN else Path(path).stat().st_size
        except BROKEN as error:
            self.close()
            raise SourceError(f"{path}: {reason(error)}") from error

    @property
    def share_read(self) -> float | None:
        """How much has been read, from 0 to 1; None where nobody knows, as on a pipe."""
        if not self._size_bytes or self.raw.closed:
            return None
        return min(1.0, self.raw.tell() / self._size_bytes)

    @property
    def seekable(self) -> bool:
        """Whether `file` can be read from any place."""
        return self.raw is self.file and self.raw.seekable()

    def keep(self, file: IO[bytes]) -> None:
        """Close `file` too when this is closed."""
        self._files.append(file)

    def close(self) -> None:
        """Close what was opened here, which standard input is not."""
        while self._files:
            self._files.pop().close()

    def guess_format(self, encoding: str, text_column: str) -> Format:
        """By the file's suffix, else by its first line."""
        known = _SUFFIXES.get(Path(self.name).suffix.lower())
        if known:
            return known
        start = self.file.peek(8192)[:8192]
        if start.startswith(_PARQUET_MARK):
            return Format.PARQUET
        text = start.decode(encoding, "replace").lstrip()
        if _JSON_OBJECT.match(text):
            return Format.JSONL
        return Format.CSV if delimiter_of(text, text_column) else Format.LINES

    def _open(self, path: str, pipe: io.BufferedReader | None) -> tuple[IO[bytes], io.BufferedReader[Any]]:
        if path == STDIN:
            raw = pipe or cast(io.BufferedReader, sys.stdin.buffer)
        else:
            raw = cast(io.BufferedReader, Path(path).open("rb", buffering=_BUFFER_BYTES))  # noqa: SIM115 - see close
            self._files.append(raw)
        if not raw.peek(2).startswith(_GZIP_MARK):
            return raw, raw
        self.name = self.name.removesuffix(".gz")
        unpacked = io.BufferedReader(_Unpacked(raw), _BUFFER_BYTES)
        self._files.append(unpacked)
        return raw, unpacked


class _Unpacked(io.RawIOBase):
    """What a gzip file holds, given out as it is unpacked: GzipFile would keep back what stands before damage."""

    def __init__(self, packed: IO[bytes]) -> None:
        self._file = gzip.GzipFile(fileobj=packed, mode="rb")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = self._file.read1(len(buffer))
        buffer[: len(part)] = part
        return len(part)


def delimiter_of(header: str, text_column: str) -> str | None:
    """What parts the cells of a header line that names the text's column; None if none does."""
    line = header.lstrip("\ufeff").partition("\n")[0].partition("\r")[0]
    for delimiter in (",", "\t", ";"):
        if text_column in header_cells(line, delimiter):
            return delimiter
    return None


def header_cells(line: str, delimiter: str) -> list[str]:
    """The names of columns in a header line; none if it is no line of CSV, but of a picture, say."""
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:
        return []


def reason(error: BaseException) -> str:
    """What is wrong, in a few words."""
    return (isinstance(error, OSError) and error.strerror) or str(error) or "ends too early"
