"""The texts that a distillation learns from and is judged by: read, cleaned, split. Labels are welcome, not needed."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.errors import SourceError
from training.cleaning import Tally, clean_rows
from training.data_files import Columns, Row, read_rows
from training.finetuning.split import group, with_eval_file

LEAST_TEXTS = 20
_PLAIN_SUFFIX = ".txt"
Show = Callable[[Tally], None]


@dataclass(frozen=True)
class Files:
    """`columns.label`: None reads texts alone; plain lines have no labels in any case. `eval`: None keeps a share of
    `texts` apart."""

    texts: tuple[Path, ...]
    eval: Path | None
    columns: Columns
    encoding: str = "utf-8"


@dataclass(frozen=True)
class Data:
    """`rows`: to learn from, then to judge by, from `n_train` on; a row without a label has the label ''."""

    labels: tuple[str, ...]
    rows: list[Row]
    n_train: int
    way: str
    cleaning: tuple[Tally, ...]

    @property
    def texts(self) -> list[str]:
        """Of all rows."""
        return [row.text for row in self.rows]

    @property
    def eval_rows(self) -> list[Row]:
        """The rows to judge by."""
        return self.rows[self.n_train :]

    def numbers(self, unlabelled: int) -> list[int]:
        """The rows' labels as logit numbers."""
        return [self.labels.index(row.label) if row.label else unlabelled for row in self.rows]

    def fingerprint(self) -> str:
        """Changes with any text, label or their order."""
        content = [self.labels, self.n_train, [[row.text, row.label] for row in self.rows]]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def as_json(self) -> dict[str, Any]:
        """For a report."""
        parts = {"train": self.rows[: self.n_train], "eval": self.eval_rows}
        return {
            "way": self.way,
            **{
                name: {"texts": len(rows), "labelled": sum(bool(row.label) for row in rows)}
                for name, rows in parts.items()
            },
            "cleaning": [tally.as_json() for tally in self.cleaning],
        }


def prepare(files: Files, labels: tuple[str, ...], eval_share: float, seed: int, show: Show) -> Data:
    """`labels`: the teacher's. Raises SourceError, which names file and lines, for data that is unfit."""
    tallies: list[Tally] = []

    def cleaned(path: Path) -> list[Row]:
        columns = files.columns
        if path.suffix.lower() == _PLAIN_SUFFIX or not labels:
            columns = Columns(columns.text, None)
        allowed = labels if columns.label else None
        hint = "correct it: a student has its teacher's labels"
        tally = Tally(file=path.name)
        rows = clean_rows(read_rows(path, columns, encoding=files.encoding, allowed=allowed, hint=hint), tally)
        tallies.append(tally)
        show(tally)
        return rows

    found = [row for path in files.texts for row in cleaned(path)]
    # A text of two files counts once, with its label if one of them has it.
    found.sort(key=lambda row: not row.label)
    distinct = list({row.text: row for row in reversed(found)}.values())[::-1]
    if files.eval:
        split = with_eval_file(distinct, cleaned(files.eval))
        train, kept, way = split.train, split.eval, split.way
    else:
        train, kept = _divided(distinct, eval_share, seed)
        way = f"about {eval_share:g} of the texts, near-duplicates (same first 15 characters) kept together"
    for name, part in (("learn from", train), ("judge by", kept)):
        if len(part) < (LEAST_TEXTS if part is train else 1):
            named = ", ".join(path.name for path in files.texts)
            raise SourceError(f"{named}: {len(part)} different texts to {name} are too few; add texts")
    return Data(labels, [*train, *kept], len(train), way, tuple(tallies))


def _divided(rows: Sequence[Row], share: float, seed: int) -> tuple[list[Row], list[Row]]:
    names = sorted({group(row) for row in rows})
    random.Random(seed).shuffle(names)  # noqa: S311 - the same draw every time
    chosen = set(names[: max(1, round(share * len(names)))])
    return [row for row in rows if group(row) not in chosen], [row for row in rows if group(row) in chosen]
