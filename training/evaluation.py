"""Numbers about a model: accuracy, per-class figures, calibration error, routing accuracy.

Pure functions of labels and scores, except `sentiment_report` and `routing_report`, which run a loaded model the way
the product does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.labels import LabelSet
from worker.inference.classifier import Classifier, Job

FloatArray = npt.NDArray[np.float64]
_CHUNK_TEXTS = 256
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


def sentiment_report(model: Classifier, texts: Sequence[str], labels: Sequence[str]) -> dict[str, Any]:
    """Accuracy, per class, and calibration error of a loaded model on labelled texts."""
    scores = [
        result.sentiment
        for start in range(0, len(texts), _CHUNK_TEXTS)
        for result in model.classify([Job(text, True, None) for text in texts[start : start + _CHUNK_TEXTS]])
    ]
    found = [score.label for score in scores if score is not None]
    return {
        "texts": len(texts),
        "accuracy": accuracy(labels, found),
        "calibration_error": calibration_error(
            [score.score for score in scores if score is not None],
            [e == f for e, f in zip(labels, found, strict=True)],
        ),
        "per_class": per_class(labels, found),
    }


def routing_report(
    model: Classifier, texts: Sequence[str], teams: Sequence[str], labels: LabelSet, groups: Sequence[str] = ()
) -> dict[str, Any]:
    """Accuracy over all texts and by group (say, language), per team, and calibration error."""
    prepared = model.prepare(labels)
    scores = [
        result.routing
        for start in range(0, len(texts), _CHUNK_TEXTS)
        for result in model.classify([Job(text, False, prepared) for text in texts[start : start + _CHUNK_TEXTS]])
    ]
    found = [score.label for score in scores if score is not None]
    report: dict[str, Any] = {
        "texts": len(texts),
        "labels": len(labels.labels),
        "accuracy": accuracy(teams, found),
        "calibration_error": calibration_error(
            [score.score for score in scores if score is not None],
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
