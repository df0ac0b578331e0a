"""The folder of one evaluation: report, tables, pictures, and the items that the model got wrong."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from schemas.errors import SetupError
from training import plots
from training.evaluating.asking import Answers
from training.evaluating.data import Data
from training.evaluating.figures import Figures
from training.evaluation import IntArray

REPORT_FILE = "report.json"
TEXT_FILE = "classification_report.txt"
CONFUSION_FILE = "confusion_matrix.png"
CONFIDENCE_FILE = "confidence_histogram.png"
WRONG_FILE = "wrong.csv"
_WRONG_COLUMNS = ("line", "text", "expected", "found", "score", "expected_score", "runner_up", "runner_up_score")


def write(
    folder: Path, report: Mapping[str, Any], *, figures: Figures, expected: IntArray, answers: Answers, data: Data
) -> None:
    """Fills `folder`, each file whole or not at all; files of an earlier evaluation are replaced. Raises SetupError."""
    labels = [of.label for of in figures.classification.per_class]
    right = (answers.found == expected).tolist()
    contents = {
        TEXT_FILE: figures.as_text().encode(),
        CONFUSION_FILE: plots.confusion_png(figures.classification.confusion, labels),
        CONFIDENCE_FILE: plots.confidence_png(answers.probabilities.max(axis=1).tolist(), right),
        WRONG_FILE: _wrong(labels, expected, answers, data).encode(),
        REPORT_FILE: (json.dumps(report, ensure_ascii=False, indent=2) + "\n").encode(),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            scratch = folder / f".{name}.{os.getpid()}"
            scratch.write_bytes(content)
            scratch.replace(folder / name)
    except OSError as error:
        raise SetupError(f"--out {folder}: {error.strerror or error}") from error


def _wrong(labels: Sequence[str], expected: IntArray, answers: Answers, data: Data) -> str:
    """The surest mistakes first: they are the model's worst, or the label's."""
    confidence = answers.probabilities.max(axis=1)
    wrong = np.flatnonzero(answers.found != expected)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(_WRONG_COLUMNS)
    for number in wrong[np.argsort(-confidence[wrong], kind="stable")]:
        row, values = data.rows[number], answers.probabilities[number]
        others = values.copy()
        others[answers.found[number]] = -1
        second = int(others.argmax())
        scores = (confidence[number], values[expected[number]], values[second])
        score, of_expected, of_second = (f"{value:.4f}" for value in scores)
        found = labels[answers.found[number]]
        writer.writerow([row.line, row.text, row.label, found, score, of_expected, labels[second], of_second])
    return table.getvalue()
