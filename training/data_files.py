"""Rows of text, labelled or not, out of CSV, JSONL, Parquet and plain-line files, all bad rows named at once.

Training stops on a bad file, so nothing here skips a row; what a good row's text is worth is `training.cleaning`'s.
"""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schemas.errors import SourceError
from schemas.fields import half_pair

MOST_SHOWN = 20
_BATCH_ROWS = 4096
_DELIMITERS = (",", "\t", ";")
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_CSV, _JSONL, _PARQUET, _LINES = "CSV", "JSONL", "Parquet", "plain lines"
_UNREADABLE = object()
_FORMATS = {
    ".csv": _CSV, ".tsv": _CSV, ".jsonl": _JSONL, ".ndjson": _JSONL, ".json": _JSONL,
    ".parquet": _PARQUET, ".pq": _PARQUET, ".txt": _LINES,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """One text and where it begins: its line, or in Parquet its row, from 1. `label` is empty where none is read."""

    text: str
    label: str
    line: int


@dataclass(frozen=True)
class Columns:
    """What the columns or fields are called. `label`: None reads texts alone."""

    text: str = "text"
    label: str | None = "label"


@dataclass
class _Reader:
    path: Path
    columns: Columns
    encoding: str
    allowed: Collection[str] | None
    hint: str
    rows: list[Row] = field(default_factory=list)
    problems: list[tuple[int, str]] = field(default_factory=list)

    def add(self, line: int, text: object, label: object) -> None:
        if not isinstance(text, str):
            self.problems.append((line, f"{self.columns.text!r} is {_kind(text)}; expected text"))
        elif not text.strip():
            self.problems.append((line, f"{self.columns.text!r} is empty; fill it or delete the row"))
        elif half_pair(text) or (isinstance(label, str) and half_pair(label)):
            self.problems.append((line, "holds half of a surrogate pair, which is no character; remove it"))
        elif self.columns.label is None:
            self.rows.append(Row(text, "", line))
        elif label is None or (isinstance(label, str) and not label.strip()):
            self.problems.append((line, f"{self.columns.label!r} is empty; fill it or delete the row"))
        elif isinstance(label, bool) or not isinstance(label, str | int):
            self.problems.append((line, f"{self.columns.label!r} is {_kind(label)}; expected text or a whole number"))
        else:
            self._add_labelled(line, text, str(label).strip())

    def _add_labelled(self, line: int, text: str, label: str) -> None:
        if self.allowed is not None and label not in self.allowed:
            known = ", ".join(sorted(self.allowed))
            self.problems.append((line, f"the label {label!r} is not among {known}; {self.hint}"))
        else:
            self.rows.append(Row(text, label, line))

    def csv(self) -> None:
        broken: set[int] = set()
        lines = self._lines(broken)
        header_line = next(lines, "")
        delimiter = self._delimiter(header_line)
        header = _header_cells(header_line, delimiter)
        at = [self._column(name, header) for name in (self.columns.text, self.columns.label) if name is not None]
        # Strict, since a quote left open would take all rows after it for one text.
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        last, blank = 1, 0
        while True:
            number = last + 1
            try:
                cells = next(reader, None)
            except csv.Error as error:
                last = 1 + reader.line_num
                self.problems.append((number, f"cannot be read: {error}; look for a quote left open"))
                continue
            if cells is None:
                return
            last = 1 + reader.line_num
            if not broken.isdisjoint(range(number, last + 1)):
                continue
            if not cells:
                blank = blank or number
                continue
            if blank:
                self.problems.append((blank, "is blank; delete it"))
                blank = 0
            if len(cells) != len(header):
                self.problems.append(
                    (number, f"has {len(cells)} cells for {len(header)} columns; quote texts that hold {delimiter!r}")
                )
            else:
                self.add(number, cells[at[0]], cells[at[1]] if len(at) > 1 else None)

    def jsonl(self) -> None:
        broken: set[int] = set()
        for number, line in enumerate(self._lines(broken), 1):
            if number in broken or not line.strip():
                continue
            if number == 1 and line.lstrip().startswith("["):
                raise SourceError(f"{self.path}: line 1: begins a JSON array; write one object a line")
            try:
                values = json.loads(line)
            except (ValueError, RecursionError) as error:
                self.problems.append((number, f"is not JSON: {error}; write one object a line"))
                continue
            if not isinstance(values, dict):
                self.problems.append((number, f"is {_kind(values)}; expected a JSON object"))
                continue
            missing = next((name for name in self._wanted() if name not in values), None)
            if missing is not None:
                self.problems.append((number, f"has no field {missing!r}; {self._option(missing)}"))
            else:
                self.add(number, values[self.columns.text], values.get(self.columns.label or ""))

    def plain(self) -> None:
        if self.columns.label is not None:
            raise SourceError(f"{self.path}: plain lines have no labels; use CSV, JSONL or Parquet")
        broken: set[int] = set()
        for number, line in enumerate(self._lines(broken), 1):
            if number not in broken and line.strip():
                self.add(number, line.rstrip("\r\n"), None)

    def parquet(self) -> None:
        import pyarrow
        from pyarrow import parquet

        try:
            file = parquet.ParquetFile(self.path)
            schema = file.schema_arrow
            for name in self._wanted():
                self._column(name, schema.names)
                self._check_type(name, schema.field(name).type)
            number = 0
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=self._wanted()):
                columns = [_values(batch.column(name)) for name in self._wanted()]
                for values in zip(*columns, strict=True):
                    number += 1
                    if _UNREADABLE in values:
                        name = self._wanted()[values.index(_UNREADABLE)]
                        self.problems.append((number, f"{name!r} is not UTF-8; mend it or delete the row"))
                        continue
                    self.add(number, "" if values[0] is None else values[0], values[1] if len(values) > 1 else None)
        except (pyarrow.ArrowException, UnicodeError) as error:
            raise SourceError(f"{self.path}: cannot be read as Parquet: {error}") from error

    def _check_type(self, name: str, found: Any) -> None:
        from pyarrow import types

        plain = found.value_type if types.is_dictionary(found) else found
        is_text = types.is_string(plain) or types.is_large_string(plain) or types.is_string_view(plain)
        if not is_text and not (name == self.columns.label and types.is_integer(plain)):
            wanted = "text or whole numbers" if name == self.columns.label else "text"
            raise SourceError(f"{self.path}: the column {name!r} holds {found}; expected {wanted}")

    def _lines(self, broken: set[int]) -> Iterator[str]:
        """Decoded lines with their ends. One that cannot be decoded is a problem; its number goes to `broken`."""
        is_utf8 = codecs.lookup(self.encoding).name == "utf-8"
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if number == 1 and line.startswith(_UTF16_MARKS):
                    raise SourceError(f"{self.path}: is UTF-16; save it as UTF-8")
                content = line.removeprefix(codecs.BOM_UTF8) if number == 1 and is_utf8 else line
                try:
                    yield content.decode(self.encoding)
                except UnicodeDecodeError as error:
                    broken.add(number)
                    hint = "; if the file is GB18030 or GBK, give --encoding gb18030" if is_utf8 else ""
                    self.problems.append(
                        (number, f"byte {error.start + 1} is not {self.encoding.upper()}; save the file as UTF-8{hint}")
                    )
                    # No quote of a line that cannot be read may open a cell, nor end one.
                    yield content.decode(self.encoding, "replace").replace('"', "")

    def _wanted(self) -> list[str]:
        return [name for name in (self.columns.text, self.columns.label) if name is not None]

    def _column(self, name: str, header: Sequence[str]) -> int:
        if header.count(name) == 1:
            return header.index(name)
        problem = f"has the column {name!r} twice; rename one" if name in header else f"has no column {name!r}"
        option = "" if name in header else f" (columns: {', '.join(header) or 'none'}); {self._option(name)}"
        raise SourceError(f"{self.path}: line 1: {problem}{option}")

    def _option(self, name: str) -> str:
        return f"name yours with --{'text' if name == self.columns.text else 'label'}-column"

    def _delimiter(self, header: str) -> str:
        for delimiter in _DELIMITERS:
            if self.columns.text in _header_cells(header, delimiter):
                return delimiter
        return max(_DELIMITERS, key=header.count)


def read_rows(
    path: Path,
    columns: Columns | None = None,
    *,
    encoding: str = "utf-8",
    allowed: Collection[str] | None = None,
    hint: str = "correct it, or add it to --labels",
) -> list[Row]:
    """The rows of a file, by its suffix. `allowed`: the labels that may occur; None allows any. `hint`: what to do
    about others.

    Raises SourceError that names the file, each bad line (the first twenty) and what to do about it.
    """
    reader = _Reader(path, columns or Columns(), encoding, allowed, hint)
    suffix = path.suffix.lower()
    if suffix not in _FORMATS:
        raise SourceError(f"{path}: its name ends in {suffix or 'no suffix'}; known are {', '.join(_FORMATS)}")
    try:
        _check_encoding(encoding)
        {_CSV: reader.csv, _JSONL: reader.jsonl, _PARQUET: reader.parquet, _LINES: reader.plain}[_FORMATS[suffix]]()
    except (LookupError, UnicodeError):
        raise SourceError(f"{path}: there is no encoding {encoding!r}; say utf-8 or gb18030") from None
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror or error}") from error
    if reader.problems:
        unit = "row" if _FORMATS[suffix] == _PARQUET else "line"
        raise SourceError(_complaint(path, unit, sorted(reader.problems)))
    if not reader.rows:
        raise SourceError(f"{path}: holds no rows")
    return reader.rows


def _check_encoding(encoding: str) -> None:
    """Raise LookupError for what cannot decode any bytes, some in place of those that it does not know."""
    try:
        b"-,\xff".decode(encoding, "replace")
    except ValueError:  # UnicodeError, and a name with a NUL
        raise LookupError(encoding) from None


def _header_cells(line: str, delimiter: str) -> list[str]:
    """The names of columns in a header line; none if it is no line of CSV."""
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:
        return []


def _values(column: Any) -> list[Any]:
    """A column's values, with _UNREADABLE for text that is not UTF-8."""
    try:
        values: list[Any] = column.to_pylist()
    except UnicodeDecodeError:
        values = [_value(cell) for cell in column]
    return values


def _value(cell: Any) -> Any:
    try:
        return cell.as_py()
    except UnicodeDecodeError:
        return _UNREADABLE


def _complaint(path: Path, unit: str, problems: Sequence[tuple[int, str]]) -> str:
    lines = [f"  {unit} {number}: {problem}" for number, problem in problems[:MOST_SHOWN]]
    if len(problems) > MOST_SHOWN:
        lines.append(f"  … and {len(problems) - MOST_SHOWN} more")
    plural = "" if len(problems) == 1 else "s"
    return "\n".join([f"{path}: {len(problems)} bad {unit}{plural}; nothing was done", *lines])


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", bool: "true or false", type(None): "null", float: "a decimal number"}
    return names.get(type(value), "a number" if isinstance(value, int) else type(value).__name__)
