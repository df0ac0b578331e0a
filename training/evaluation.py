"""Numbers about a model: accuracy, per-class figures, calibration error, routing accuracy.

Pure functions of labels and scores, except `answers` and the two reports made with it, which run a loaded model the
way the product does. What `fenliu train evaluate` makes of them is `training.evaluating`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.labels import LabelSet
from worker.inference.classifier import Classifier, Job, PreparedLabels
from worker.inference.scores import Scores

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]
CHUNK_TEXTS = 256
"""Texts that are classified together, as many as a slot takes from an inbox."""
_DIGITS = 4


def per_class(expected: Sequence[str], found: Sequence[str]) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and number of texts of each expected label."""
    report: dict[str, dict[str, float]] = {}
    for label in dict.fromkeys(sorted(expected)):
        hits = sum(e == f == label for e, f in zip(expected, found, strict=True))
        precision = hits / max(1, sum(f == label for f in found))
        recall = hits / max(1, sum(e == label for e in expected))
        f1 = 2 * precision * recall / max(precision + recall, 1e-12)
        report[label] = {
            "precision": round(precision, _DIGITS),
            "recall": round(recall, _DIGITS),
            "f1": round(f1, _DIGITS),
            "texts": sum(e == label for e in expected),
        }
    return report


def accuracy(expected: Sequence[str], found: Sequence[str]) -> float:
    """Share of equal labels."""
    return round(sum(e == f for e, f in zip(expected, found, strict=True)) / max(1, len(expected)), _DIGITS)


def calibration_error(confidence: Sequence[float], correct: Sequence[bool], bins: int = 15) -> float:
    """Expected calibration error over equal-width bins (Guo et al., "On Calibration of Modern Neural Networks")."""
    scores, hits = np.asarray(confidence, float), np.asarray(correct, float)
    which = np.minimum((scores * bins).astype(int), bins - 1)
    gaps = [
        abs(scores[which == number].mean() - hits[which == number].mean()) * float((which == number).mean())
        for number in range(bins)
        if (which == number).any()
    ]
    return round(float(sum(gaps)), _DIGITS)


def answers(
    model: Classifier, texts: Sequence[str], labels: PreparedLabels | None = None
) -> Iterator[list[tuple[Scores, int]]]:
    """Scores and length in tokens of each text, in order, CHUNK_TEXTS at a time: its sentiment, or with `labels` its
    routing. Raises InferenceError."""
    for start in range(0, len(texts), CHUNK_TEXTS):
        jobs = [Job(text, labels is None, labels) for text in texts[start : start + CHUNK_TEXTS]]
        results = model.classify(jobs)
        found = [result.sentiment if labels is None else result.routing for result in results]
        yield [(scores, result.tokens) for scores, result in zip(found, results, strict=True) if scores is not None]


def sentiment_report(model: Classifier, texts: Sequence[str], labels: Sequence[str]) -> dict[str, Any]:
    """Accuracy, per class, and calibration error of a loaded model on labelled texts."""
    scores = [score for part in answers(model, texts) for score, _ in part]
    found = [score.label for score in scores]
    return {
        "texts": len(texts),
        "accuracy": accuracy(labels, found),
        "calibration_error": calibration_error(
            [score.score for score in scores],
            [e == f for e, f in zip(labels, found, strict=True)],
        ),
        "per_class": per_class(labels, found),
    }


def routing_report(
    model: Classifier, texts: Sequence[str], teams: Sequence[str], labels: LabelSet, groups: Sequence[str] = ()
) -> dict[str, Any]:
    """Accuracy over all texts and by group (say, language), per team, and calibration error."""
    scores = [score for part in answers(model, texts, model.prepare(labels)) for score, _ in part]
    found = [score.label for score in scores]
    report: dict[str, Any] = {
        "texts": len(texts),
        "labels": len(labels.labels),
        "accuracy": accuracy(teams, found),
        "calibration_error": calibration_error(
            [score.score for score in scores],
            [e == f for e, f in zip(teams, found, strict=True)],
        ),
    }
    if groups:
        report["by_group"] = {
            group: accuracy(
                [t for t, g in zip(teams, groups, strict=True) if g == group],
                [f for f, g in zip(found, groups, strict=True) if g == group],
            )
            for group in dict.fromkeys(groups)
        }
    report["per_class"] = per_class(teams, found)
    return report
