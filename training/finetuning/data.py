"""From the files a user gives to the rows a run trains on and is judged by: read, cleaned, checked, split."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.cleaning import Tally, clean_rows
from training.data_files import Columns, Row, read_rows
from training.finetuning.split import Split, check_classes, divided, with_eval_file

Show = Callable[[Tally], None]
"""Called with what cleaning did to a file."""


@dataclass(frozen=True)
class Files:
    """`eval`: None keeps a share of `train` apart. `labels`: in logit order; None sorts those that occur."""

    train: Path
    eval: Path | None = None
    columns: Columns = field(default_factory=Columns)
    encoding: str = "utf-8"
    labels: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Data:
    """What a run learns from. `labels`: in logit order."""

    labels: tuple[str, ...]
    split: Split
    cleaning: dict[str, Tally]

    def numbers(self, rows: Sequence[Row]) -> list[int]:
        """The rows' labels as logit numbers."""
        return [self.labels.index(row.label) for row in rows]

    def fingerprint(self) -> str:
        """Changes with any text, label or their order."""
        digest = hashlib.sha256(json.dumps(self.labels).encode())
        for row in [*self.split.train, Row("", "", 0), *self.split.eval]:
            digest.update(json.dumps([row.text, row.label]).encode())
        return digest.hexdigest()

    def as_json(self) -> dict[str, Any]:
        """For a report."""
        return {
            "labels": list(self.labels),
            "cleaning": {name: tally.as_json() for name, tally in self.cleaning.items()},
            "split": self.split.as_json(self.labels),
        }


def prepare(files: Files, eval_share: float, seed: int, show: Show) -> Data:
    """Raises SourceError, which names file and lines, for anything that makes the data unfit."""
    tallies: dict[str, Tally] = {}

    def cleaned(part: str, path: Path, rows: Sequence[Row]) -> list[Row]:
        tally = tallies[part] = Tally(file=path.name)
        kept = clean_rows(rows, tally)
        show(tally)
        return kept

    rows = cleaned(
        "train", files.train, read_rows(files.train, files.columns, encoding=files.encoding, allowed=files.labels)
    )
    labels = files.labels or tuple(sorted({row.label for row in rows}))
    check_classes(files.train, rows, labels)
    if files.eval is None:
        return Data(labels, divided(files.train, rows, eval_share, seed), tallies)
    hint = f"correct it, or give {files.train.name} texts with it"
    read = read_rows(files.eval, files.columns, encoding=files.encoding, allowed=labels, hint=hint)
    split = with_eval_file(rows, cleaned("eval", files.eval, read))
    check_classes(files.train, split.train, labels)
    return Data(labels, split, tallies)
