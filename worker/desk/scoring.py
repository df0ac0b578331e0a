"""How right results are: accuracy, macro-F1, calibration and coverage of labels whose truth is known.

Pure functions of truth, label and score. Where they come from is `worker.desk.quality`'s and `worker.desk.starter`'s.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

BINS = 10
SURE_SENTIMENT = 0.7
"""Score from which a sentiment is taken without a person; below it, it is shown as low confidence."""

_Z_95 = 1.959963984540054  # of the normal distribution: 95 % lie within it on both sides


@dataclass(frozen=True, slots=True)
class Judged:
    """One result and the truth. `score`: of `predicted`, from 0 to 1. `decided`: no person had to look at it."""

    truth: str
    predicted: str
    score: float
    decided: bool

    @property
    def is_right(self) -> bool:
        """Whether the result is true."""
        return self.truth == self.predicted


@dataclass(frozen=True, slots=True)
class Share:
    """A share of `items`, with the interval that holds the true one in 95 of 100 such samples."""

    right: int
    items: int
    value: float
    low: float
    high: float

    def as_json(self) -> dict[str, float]:
        """For `evaluations.metrics`."""
        return {"right": self.right, "items": self.items, "value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True, slots=True)
class OfLabel:
    """One label: of those that were given it, how many are true (precision); of the true ones, how many have it."""

    label: str
    items: int
    predicted: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class Bin:
    """Results with a score from `low` to `high`: how many, their mean score, and the share that is right."""

    low: float
    high: float
    items: int
    score: float
    right: float


@dataclass(frozen=True, slots=True)
class Report:
    """What was measured on `accuracy.items` results. `confusion`: (truth, predicted) → items, most first.

    `covered`: the share that the model decides by itself, `covered_accuracy`: how right it is there, None if nowhere.
    """

    accuracy: Share
    macro_f1: float
    labels: tuple[OfLabel, ...]
    confusion: dict[tuple[str, str], int]
    calibration_error: float
    bins: tuple[Bin, ...]
    covered: Share
    covered_accuracy: Share | None

    def as_json(self) -> dict[str, Any]:
        """For `evaluations.metrics`; labels and bins as objects, the confusion as rows of truth, predicted, items."""
        return {
            "accuracy": self.accuracy.as_json(),
            "macro_f1": self.macro_f1,
            "labels": [
                {"label": each.label, "items": each.items, "predicted": each.predicted, "precision": each.precision,
                 "recall": each.recall, "f1": each.f1}
                for each in self.labels
            ],
            "confusion": [[truth, predicted, items] for (truth, predicted), items in self.confusion.items()],
            "calibration_error": self.calibration_error,
            "bins": [
                {"low": each.low, "high": each.high, "items": each.items, "score": each.score, "right": each.right}
                for each in self.bins
            ],
            "covered": self.covered.as_json(),
            "covered_accuracy": self.covered_accuracy.as_json() if self.covered_accuracy else None,
        }  # fmt: skip


def report(judged: Sequence[Judged]) -> Report:
    """All measures of some results. Raises ValueError for none."""
    if not judged:
        raise ValueError("nothing was judged")
    labels = of_labels(judged)
    decided = [each for each in judged if each.decided]
    bins = calibration_bins(judged)
    return Report(
        accuracy=accuracy(judged),
        macro_f1=sum(each.f1 for each in labels) / len(labels),
        labels=labels,
        confusion=dict(Counter((each.truth, each.predicted) for each in judged).most_common()),
        calibration_error=sum(abs(each.score - each.right) * each.items for each in bins) / len(judged),
        bins=bins,
        covered=share(len(decided), len(judged)),
        covered_accuracy=accuracy(decided) if decided else None,
    )


def accuracy(judged: Sequence[Judged]) -> Share:
    """The share of right results."""
    return share(sum(each.is_right for each in judged), len(judged))


def share(right: int, items: int) -> Share:
    """`right` of `items` with Wilson's score interval of 95 % (Wilson 1927), which holds for few items too."""
    if not items:
        raise ValueError("a share of nothing")
    value = right / items
    z2 = _Z_95**2
    middle = value + z2 / (2 * items)
    spread = _Z_95 * math.sqrt(value * (1 - value) / items + z2 / (4 * items**2))
    low, high = ((middle + side * spread) / (1 + z2 / items) for side in (-1, 1))
    # At 0 and 1 the interval ends there; the formula misses it by a rounding error.
    return Share(right, items, value, min(max(0.0, low), value), max(min(1.0, high), value))


def of_labels(judged: Sequence[Judged]) -> tuple[OfLabel, ...]:
    """Each label that is true or predicted somewhere, by name; what has no items to divide by is 0."""
    truths = Counter(each.truth for each in judged)
    found = Counter(each.predicted for each in judged)
    hits = Counter(each.truth for each in judged if each.is_right)
    return tuple(
        OfLabel(
            label=label,
            items=truths[label],
            predicted=found[label],
            precision=hits[label] / found[label] if found[label] else 0.0,
            recall=hits[label] / truths[label] if truths[label] else 0.0,
            f1=2 * hits[label] / (truths[label] + found[label]),
        )
        for label in sorted(truths.keys() | found.keys())
    )


def calibration_bins(judged: Sequence[Judged]) -> tuple[Bin, ...]:
    """The bins of a reliability diagram: ten of equal width, empty ones left out.

    The calibration error is their mean |score - right|, weighted by items (Guo et al. 2017, "On Calibration of Modern
    Neural Networks"). A score on the border belongs to the upper bin.
    """
    of_bin: dict[int, list[Judged]] = {}
    for each in judged:
        of_bin.setdefault(max(0, min(BINS - 1, int(each.score * BINS))), []).append(each)
    return tuple(
        Bin(
            low=number / BINS,
            high=(number + 1) / BINS,
            items=len(inside),
            score=sum(each.score for each in inside) / len(inside),
            right=sum(each.is_right for each in inside) / len(inside),
        )
        for number, inside in sorted(of_bin.items())
    )


def loss(before: Share, now: Share) -> tuple[float, bool]:
    """How much less is right now than before, and whether that is more than chance at 95 %.

    By the interval of a difference of two independent shares (Newcombe 1998, method 10, from both Wilson intervals).
    """
    difference = before.value - now.value
    least = difference - math.hypot(before.value - before.low, now.high - now.value)
    return difference, least > 0
