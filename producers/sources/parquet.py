"""Rows of a Parquet file, batch by batch, from any row on; memory follows the batch and not the file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from producers.sources.columns import Columns
from producers.sources.opened import BROKEN, Opened, reason
from producers.sources.parquet_footer import Chunk, chunks_of
from producers.sources.parquet_pages import pages_of
from schemas.errors import SetupError, SourceError

_BATCH_ROWS = 1024
_BATCH_BYTES = 4 * 1024 * 1024
_PAGE_BUFFER_BYTES = 1024 * 1024
_MAX_MEAN_BYTES = 1024 * 1024
_MOST_REPEATED_BYTES = 16 * 1024 * 1024
_MOST_LIST_VALUES = 1_000_000
_MOST_VALUES_A_ROW = 16
MAX_UNPACKED_BYTES = 16 * 1024**3
_COPIED_BYTES = 1024 * 1024
_UNREADABLE = (ValueError, OverflowError, LookupError, TypeError)
"""What pyarrow raises for text that is not UTF-8, times beyond the year 9999, zones that nobody knows."""


@dataclass(frozen=True, slots=True)
class _Unreadable:
    """In the place of a cell's value."""

    column: str
    why: str


class ParquetRows:
    """The rows of one file; raises SetupError without pyarrow, SourceError for what is no Parquet.

    A pipe or gzip is copied to a temporary file of at most MAX_UNPACKED_BYTES.
    Iterating gives (number of the row from 1, values by column name); columns that nobody wants are not read.
    """

    def __init__(self, opened: Opened, columns: Columns) -> None:
        try:
            import pyarrow
            from pyarrow import parquet
        except ModuleNotFoundError:
            raise SetupError("reading Parquet needs pyarrow: pip install 'fenliu[parquet]'") from None
        self._name = opened.name
        self._arrow_error: type[Exception] = pyarrow.ArrowException
        self._timestamp = pyarrow.timestamp
        self._is_timestamp = pyarrow.types.is_timestamp
        file: Any = opened.file
        if not opened.seekable:
            file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the source; Parquet is read from its end
            opened.keep(file)
            self._unpack(opened, file)
        self._file = file
        try:
            # Neither a whole column nor a whole group is read ahead: a group may hold the whole file.
            self._table = parquet.ParquetFile(file, pre_buffer=False, buffer_size=_PAGE_BUFFER_BYTES)
        except self._arrow_error as error:
            raise self._broken(error) from error
        try:
            self._chunks = chunks_of(file)
        except SourceError as error:
            raise SourceError(f"{self._name}: {error}") from None
        metadata = self._table.metadata
        self.groups: list[int] = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        self.total: int = sum(self.groups)
        names = self._table.schema_arrow.names
        columns.check(self._name, names)
        self._wanted = columns.wanted(names)

    def rows(self, group: int = 0, row: int = 0) -> Iterator[tuple[int, dict[str, Any] | SourceError]]:
        """The rows from `row` (from 0) of row group `group` on; one with a cell that Python cannot hold is an error."""
        number = sum(self.groups[:group])
        try:
            for at in range(group, len(self.groups)):
                passed = row if at == group else 0
                number += passed
                for names, columns in self._batches(at, passed):
                    for cells in zip(*columns, strict=True):
                        number += 1
                        flaw = next((cell for cell in cells if cell.__class__ is _Unreadable), None)
                        yield number, _flawed(number, flaw) if flaw else dict(zip(names, cells, strict=True))
        except self._arrow_error as error:
            raise self._broken(error) from error

    def place(self, number: int) -> tuple[int, int]:
        """The row group and the row in it (from 0) that comes after row `number` (from 1)."""
        for group, rows in enumerate(self.groups):
            if number < rows:
                return group, number
            number -= rows
        return len(self.groups), 0

    def _unpack(self, opened: Opened, file: Any) -> None:
        """Copy to a temporary file, whose size has a bound: a small gzip may hold any number of bytes."""
        left_bytes = MAX_UNPACKED_BYTES
        try:
            while part := opened.file.read(_COPIED_BYTES):
                left_bytes -= len(part)
                if left_bytes < 0:
                    raise SourceError(
                        f"{self._name}: is over {MAX_UNPACKED_BYTES:,} bytes unpacked; give Parquet of that size as a "
                        "plain file, which needs no copy"
                    )
                file.write(part)
            file.seek(0)
        except BROKEN as error:
            raise SourceError(f"{self._name}: {reason(error)}") from error

    def _batches(self, group: int, passed: int) -> Iterator[tuple[list[str], list[list[Any]]]]:
        """Columns of Python values, without the first `passed` rows of the group."""
        if passed >= self.groups[group]:
            return
        batches = self._table.iter_batches(
            batch_size=self._batch_rows(group), row_groups=[group], columns=self._wanted, use_threads=False
        )
        for batch in batches:
            if passed >= batch.num_rows:
                passed -= batch.num_rows
                continue
            part = batch.slice(passed)
            passed = 0
            names = part.schema.names
            yield names, [self._values(name, column) for name, column in zip(names, part.columns, strict=True)]

    def _values(self, name: str, column: Any) -> list[Any]:
        if self._is_timestamp(column.type) and column.type.unit == "ns":
            column = column.cast(self._timestamp("us", column.type.tz), safe=False)  # Python knows no nanoseconds
        try:
            values: list[Any] = column.to_pylist()
        except _UNREADABLE:
            return [_value(name, cell) for cell in column]
        return values

    def _batch_rows(self, group: int) -> int:
        """Fewer rows where the group's cells are large, or could be by what its pages say."""
        rows = self.groups[group]
        chunks = self._chunks[group] if group < len(self._chunks) else []
        wanted = [(place, chunk) for place, chunk in enumerate(chunks) if chunk.path.partition(".")[0] in self._wanted]
        if len(chunks) != len(self._table.schema) or (rows and self._wanted and not wanted):
            raise SourceError(f"{self._name}: the footer of row group {group} contradicts itself")
        mean = sum(chunk.unpacked_bytes for _, chunk in wanted) / max(1, rows)
        if mean > _MAX_MEAN_BYTES:
            raise SourceError(
                f"{self._name}: row group {group} has {mean:,.0f} bytes a row; is the right column named?"
            )
        most = min(_BATCH_ROWS, int(_BATCH_BYTES / max(1.0, mean)))
        return max(1, min([most, *(self._column_rows(chunk, place, rows) for place, chunk in wanted)]))

    def _column_rows(self, chunk: Chunk, place: int, rows: int) -> int:
        """How many rows of a column chunk may be decoded at once; none of its pages is too large to be unpacked."""
        if self._table.schema.column(place).max_repetition_level and (
            chunk.values > _MOST_VALUES_A_ROW * rows + _MOST_LIST_VALUES
        ):
            raise SourceError(f"{self._name}: the lists of {chunk.path!r:.60} are too long")
        most = _BATCH_ROWS
        before = self._file.tell()
        try:
            for page in pages_of(self._file, chunk):
                if page.repeats and chunk.is_text:  # every row may be its one largest value
                    most = min(most, _MOST_REPEATED_BYTES // max(1, page.unpacked_bytes))
                elif page.values:
                    most = min(most, _BATCH_BYTES * page.values // max(1, page.unpacked_bytes))
        except SourceError as error:
            raise SourceError(f"{self._name}: {error}") from None
        finally:
            self._file.seek(before)
        return most

    def _broken(self, error: Exception) -> SourceError:
        return SourceError(f"{self._name}: cannot be read as Parquet: {error}")


def _value(name: str, cell: Any) -> Any:
    try:
        return cell.as_py()
    except _UNREADABLE as error:
        return _Unreadable(name, f"{error!s:.200}")


def _flawed(number: int, flaw: _Unreadable) -> SourceError:
    return SourceError(f"row {number}: {flaw.column!r:.100} cannot be read: {flaw.why}; mend it or leave it empty")
