"""Labelled texts to evaluate on, their labels said in the model's words. Nothing is cleaned: a served text is not."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import SourceError
from schemas.manifest import sha256_of
from training.data_files import Columns, Row, read_rows

_TEAM, _LABEL = "team", "label"
_DELIMITERS = (",", "\t", ";")
_SAME_MEANING = (
    {"positive", "pos", "正面", "正向", "积极", "好评"},
    {"negative", "neg", "负面", "负向", "消极", "差评"},
    {"neutral", "neu", "中性", "中立", "中评"},
)
_MOST_NAMED = 20


@dataclass(frozen=True)
class Data:
    """`rows` in the order of the file, labels mapped. `mapping`: what was renamed. `sha256`: of the file."""

    path: Path
    rows: Sequence[Row]
    mapping: Mapping[str, str]
    sha256: str

    @property
    def texts(self) -> list[str]:
        """The texts alone."""
        return [row.text for row in self.rows]


def read(
    path: Path, labels: Sequence[str], columns: Columns, mapping: Mapping[str, str], *, encoding: str = "utf-8"
) -> Data:
    """Rows whose labels are all among `labels`, those named in `mapping` renamed first.

    Raises SourceError that names each bad line, or each label that the model does not know and how to map it.
    """
    for own, meant in mapping.items():
        if meant not in labels:
            raise SourceError(f"--map {own}={meant}: {meant!r} is no label of the model; it has {', '.join(labels)}")
    found = read_rows(path, columns, encoding=encoding)
    rows = [Row(row.text, mapping.get(row.label, row.label), row.line) for row in found]
    known = set(labels)
    unknown: dict[str, list[int]] = {}
    for row in rows:
        if row.label not in known:
            unknown.setdefault(row.label, []).append(row.line)
    if unknown:
        raise SourceError(_complaint(path, labels, unknown))
    return Data(path, rows, dict(mapping), sha256_of(path))


def label_column(path: Path, encoding: str = "utf-8") -> str:
    """`team` where the file has such a column and none called `label`, else `label`.

    A file that cannot be read has neither; `read` says what is wrong with it.
    """
    names = _names(path, encoding)
    return _TEAM if _TEAM in names and _LABEL not in names else _LABEL


def parse_mapping(given: Sequence[str]) -> dict[str, str]:
    """`OWN=MEANT` pairs. Raises SourceError for one that is none."""
    mapping: dict[str, str] = {}
    for pair in given:
        own, equals, meant = (part.strip() for part in pair.partition("="))
        if not (own and equals and meant):
            raise SourceError(f"--map {pair!r}: expected OWN=MEANT, such as 正面=positive")
        if mapping.setdefault(own, meant) != meant:
            raise SourceError(f"--map gives {own!r} two meanings: {mapping[own]} and {meant}")
    return mapping


def _complaint(path: Path, labels: Sequence[str], unknown: Mapping[str, Sequence[int]]) -> str:
    shown = ", ".join(labels[:_MOST_NAMED]) + (" …" if len(labels) > _MOST_NAMED else "")
    lines = []
    for label, at in list(unknown.items())[:_MOST_NAMED]:
        counted = f"{len(at)} row{'s' if len(at) > 1 else ''}, the first on line {at[0]}"
        lines.append(f"  {label!r}: {counted}; correct it, or add --map {label}={_meant(label, labels)}")
    if len(unknown) > _MOST_NAMED:
        lines.append(f"  … and {len(unknown) - _MOST_NAMED} more")
    return "\n".join([f"{path}: has labels that the model does not know; it knows {shown}", *lines])


def _meant(label: str, labels: Sequence[str]) -> str:
    """The model's word for what `label` usually means, or a place for it."""
    for words in _SAME_MEANING:
        if label.lower() in words:
            return next((known for known in labels if known.lower() in words), "LABEL")
    return "LABEL"


def _names(path: Path, encoding: str) -> Sequence[str]:
    try:
        if path.suffix.lower() in {".parquet", ".pq"}:
            return _parquet_names(path)
        with path.open(encoding=encoding, errors="replace") as file:
            line = file.readline().removeprefix("\ufeff")
    except (OSError, LookupError, ValueError):
        return ()
    if line.lstrip().startswith("{"):
        try:
            return list(json.loads(line))
        except (ValueError, RecursionError):
            return ()
    try:
        rows = [next(csv.reader([line], delimiter=delimiter), []) for delimiter in _DELIMITERS]
    except csv.Error:
        return ()
    return [cell.strip() for row in rows for cell in row if cell]


def _parquet_names(path: Path) -> Sequence[str]:
    import pyarrow
    from pyarrow import parquet

    try:
        names: list[str] = parquet.read_schema(path).names
    except pyarrow.ArrowException:
        return ()
    return names
