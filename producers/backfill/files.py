"""Rows of a file or of standard input, from any line or row on."""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from producers.backfill.feed import Fed
from producers.backfill.options import Options
from producers.backfill.shape import Shape
from producers.sources import STDIN, BadRow, Format, Source
from producers.sources.parquet import ParquetRows
from schemas.errors import BackfillError, EntryError, SourceError

_HEAD_BYTES = 4096
_SHOWN = {"size": "its size", "mtime_ns": "its time", "head": "its beginning"}


class FileFeed:
    """The rows of a text file or pipe. A place is the last line that was dealt with. Raises SourceError."""

    keeps_read_time = True

    def __init__(self, options: Options) -> None:
        self._options = options
        self._source: Source | None = None
        self._pipe: io.BufferedReader | None = None
        self._is_read = False
        if options.origin == STDIN:
            self._pipe, self.file = _headed(sys.stdin.buffer)
        else:
            self.file = _identity(options.origin)

    def rows(self, place: Mapping[str, Any], shape: Shape) -> Iterator[Fed]:
        """The rows after line `place["line"]`."""
        source = self._unread()
        source.after_line = int(place.get("line", 0))
        for row in source:
            where = f"line {row.line}"
            if isinstance(row, BadRow):
                yield Fed(row.end, where, None, row.error)
                continue
            try:
                yield Fed(row.end, where, shape.entry(row), None)
            except EntryError as error:
                yield Fed(row.end, where, None, error)

    def place(self, mark: Any) -> dict[str, Any]:
        """The line."""
        return {"line": mark}

    def total(self) -> int | None:
        """Nobody knows without reading it."""
        return None

    @property
    def share_read(self) -> float | None:
        """By bytes."""
        return self._source.share_read if self._source else None

    def close(self) -> None:
        """Close the file."""
        if self._source is not None:
            self._source.close()

    def open(self) -> Source:
        """The source, not yet read."""
        options = self._options
        if self._source is not None:
            self._source.close()
        self._source = Source(
            options.origin,
            format=options.file_format,
            encoding=options.encoding,
            columns=options.columns,
            pipe=self._pipe,
        )
        self._is_read = False
        return self._source

    def _unread(self) -> Source:
        if self._is_read and self._pipe is not None:
            raise SourceError("standard input cannot be read again; resume with the same input")
        source = self.open() if self._is_read or self._source is None else self._source
        self._is_read = True
        return source


class ParquetFeed:
    """The rows of a Parquet file. A place is a row group and the rows of it that were dealt with."""

    keeps_read_time = True

    def __init__(self, options: Options, source: Source, file: Mapping[str, Any]) -> None:
        self.file = file
        self._source = source
        self._columns = options.columns
        self._rows = ParquetRows(source.opened, options.columns)
        self._read = 0

    def rows(self, place: Mapping[str, Any], shape: Shape) -> Iterator[Fed]:
        """The rows after those of `place`."""
        known: dict[str, str | None] = {}
        name, fields_of, entry = self._source.name, self._columns.fields, shape.entry
        for number, values in self._rows.rows(int(place.get("group", 0)), int(place.get("row", 0))):
            self._read = number
            if isinstance(values, SourceError):
                yield Fed(number, f"row {number}", None, values)
                continue
            try:
                yield Fed(number, "", entry(fields_of(name, number, values, known)), None)
            except EntryError as error:
                yield Fed(number, f"row {number}", None, error)

    def place(self, mark: Any) -> dict[str, Any]:
        """Whole groups are passed over on the way back."""
        group, row = self._rows.place(mark)
        return {"group": group, "row": row}

    def total(self) -> int | None:
        """By the file's footer."""
        return self._rows.total

    @property
    def share_read(self) -> float | None:
        """By rows."""
        return self._read / self._rows.total if self._rows.total else None

    def close(self) -> None:
        """Close the file."""
        self._source.close()


def open_file(options: Options) -> FileFeed | ParquetFeed:
    """The feed of a file or of standard input. Raises SourceError, SetupError."""
    feed = FileFeed(options)
    source = feed.open()
    return ParquetFeed(options, source, feed.file) if source.format is Format.PARQUET else feed


def check_same(kept: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> None:
    """Raise BackfillError if a file is not the one that its place belongs to."""
    if kept is None or now is None:
        return
    differs = [shown for name, shown in _SHOWN.items() if name in kept and kept[name] != now.get(name)]
    if differs:
        raise BackfillError(
            f"the file is not the one this backfill began with ({' and '.join(differs)} changed): start a new one, or "
            "give --force if its rows up to here are the same"
        )


def _identity(path: str) -> dict[str, Any]:
    try:
        with Path(path).open("rb") as file:
            head = file.read(_HEAD_BYTES)
        found = Path(path).stat()
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}") from error
    return {"size": found.st_size, "mtime_ns": found.st_mtime_ns, "head": _digest(head)}


def _headed(stdin: Any) -> tuple[io.BufferedReader, dict[str, Any]]:
    """Standard input, whose beginning has been looked at."""
    head = stdin.read(_HEAD_BYTES)
    return io.BufferedReader(_Again(head, stdin), 65_536), {"head": _digest(head)}


def _digest(head: bytes) -> str:
    return hashlib.blake2b(head, digest_size=16).hexdigest()


class _Again(io.RawIOBase):
    """A stream with what has been read of it already before it again."""

    def __init__(self, head: bytes, rest: Any) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = self._head[: len(buffer)] or self._rest.read1(len(buffer))
        self._head = self._head[len(part) :]
        buffer[: len(part)] = part
        return len(part)
