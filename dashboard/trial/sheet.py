"""The results of a file as rows of a spreadsheet. How it is written is `dashboard.sheet`'s."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dashboard.sheet import to_csv
from dashboard.trial.lines import FileResult, labels_of


def sheet(result: FileResult) -> bytes:
    """All lines in the order of the file, one column for the score of every label where there are not too many."""
    labels = labels_of(result)
    own = ["line", "text", "label", "score", *(["labels"] if result.ask.is_multi else []), "model", "error"]
    return to_csv([*own, *(f"score of {label}" for label in labels)], _rows(result, labels))


def _rows(result: FileResult, labels: list[str]) -> Iterator[list[Any]]:
    for line in result.lines:
        passing = ["; ".join(line.passing)] if result.ask.is_multi else []
        scores = (line.scores.get(label) for label in labels)
        yield [
            line.line, line.text, line.label, line.score if line.label else None, *passing, line.model, line.problem,
            *scores,
        ]  # fmt: skip
