"""How a classifier did on labelled texts: accuracy, macro-F1, per class, confusion, calibration error.

Pure functions of labels and probabilities, shown as data or as text; pictures of the same are `training.plots`'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.cells import cell_len
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support

from training.evaluation import calibration_error

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]
_DIGITS = 4


@dataclass(frozen=True)
class ClassFigures:
    """Of one class. `texts`: how many truly have it; its share found is `recall`."""

    label: str
    precision: float
    recall: float
    f1: float
    texts: int


@dataclass(frozen=True)
class ClassificationReport:
    """`confusion`: rows are the true labels, columns the found ones, both in the order of `per_class`."""

    texts: int
    accuracy: float
    macro_f1: float
    calibration_error: float
    per_class: tuple[ClassFigures, ...]
    confusion: tuple[tuple[int, ...], ...]

    def as_json(self) -> dict[str, Any]:
        """For a manifest or a report."""
        return asdict(self)

    def as_text(self) -> str:
        """A table for people, and the confusion matrix below it. Classes are numbered as in the pictures."""
        names = [f"{number} {figures.label}" for number, figures in enumerate(self.per_class)]
        width = max(cell_len(name) for name in [*names, "macro F1"])
        rows = [
            f"{_left(name, width)}  {of.precision:9.4f}  {of.recall:9.4f}  {of.f1:9.4f}  {of.texts:9d}"
            for name, of in zip(names, self.per_class, strict=True)
        ]
        column = max(len(str(self.texts)), len(str(len(names)))) + 2
        matrix = [
            _left(name, width) + "".join(f"{count:>{column}d}" for count in counts)
            for name, counts in zip(names, self.confusion, strict=True)
        ]
        return "\n".join(
            [
                f"{_left('class', width)}  {'precision':>9}  {'recall':>9}  {'F1':>9}  {'texts':>9}",
                *rows,
                "",
                f"{_left('accuracy', width)}  {self.accuracy:9.4f}",
                f"{_left('macro F1', width)}  {self.macro_f1:9.4f}",
                f"{_left('ECE', width)}  {self.calibration_error:9.4f}",
                f"{_left('texts', width)}  {self.texts:9d}",
                "",
                "confusion matrix: a row for each true class, a column for each found one",
                _left("", width) + "".join(f"{number:>{column}d}" for number in range(len(names))),
                *matrix,
                "",
            ]
        )


def report(
    expected: IntArray, probabilities: FloatArray, labels: Sequence[str], found: IntArray | None = None
) -> ClassificationReport:
    """`expected` [N] numbers of the true labels, `probabilities` [N, L] in the order of `labels`.

    `found` [N]: what was taken, where that is not the first of the most probable labels.
    A class with no texts counts in macro-F1 only if some text was taken for it.
    """
    found = probabilities.argmax(axis=1) if found is None else found
    numbers = np.arange(len(labels))
    precision, recall, f1, support = precision_recall_fscore_support(expected, found, labels=numbers, zero_division=0)
    return ClassificationReport(
        texts=len(expected),
        accuracy=round(float((found == expected).mean()), _DIGITS),
        macro_f1=round(macro_f1(expected, found), _DIGITS),
        calibration_error=calibration_error(probabilities.max(axis=1).tolist(), (found == expected).tolist()),
        per_class=tuple(
            ClassFigures(
                label,
                round(float(precision[at]), _DIGITS),
                round(float(recall[at]), _DIGITS),
                round(float(f1[at]), _DIGITS),
                int(support[at]),
            )
            for at, label in enumerate(labels)
        ),
        confusion=tuple(
            tuple(int(count) for count in row) for row in confusion_matrix(expected, found, labels=numbers)
        ),
    )


def macro_f1(expected: IntArray, found: IntArray) -> float:
    """The mean F1 over the classes that occur, as true or as found."""
    return float(f1_score(expected, found, average="macro", zero_division=0))


def _left(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))
