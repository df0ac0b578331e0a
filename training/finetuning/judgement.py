"""What a new model is worth: measured on the eval part as the worker would run it, calibrated, and written down.

The temperature that goes into the manifest is fitted on the whole eval part. The calibration error after it is
cross-fitted: each half of the eval part is judged with the temperature of the other half, so that no text is judged
with what was fitted on it. The eval part has also chosen the epoch; figures that owe nothing to it need a test file
of their own and `fenliu train evaluate`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from schemas.manifest import CARD_FILE, Calibration, read_manifest, sha256_of, write_manifest
from training import card
from training.calibration import temperature
from training.classification_report import ClassificationReport, report
from training.evaluation import calibration_error
from training.finetuning.data import Data
from training.finetuning.split import halves
from training.history import epoch_curve, train_curve
from training.loop import Say
from training.plots import Curve, confusion_png, curves_png
from worker.inference.classifier import Classifier, Job
from worker.inference.scores import softmax

FloatArray = npt.NDArray[np.float64]
REPORT_FILE = "report.json"
TEXT_FILE = "classification_report.txt"
CONFUSION_FILE = "confusion_matrix.png"
CURVES_FILE = "learning_curves.png"
EVAL_METRICS = "eval_part"
LEAST_TEMPERATURE, MOST_TEMPERATURE = 0.25, 10.0
_RUN_TOKENS = 512
_CHUNK_TEXTS = 256
_CROSS_FITTED = "two halves by group of near-duplicates, each judged with the temperature fitted on the other"


class Judge:
    """Measures a folder and completes it. `made`: what the report says about how the model came about."""

    def __init__(self, data: Data, made: dict[str, Any], *, seed: int, say: Say) -> None:
        self.data, self.made, self.seed, self.say = data, made, seed, say

    def finish(self, folder: Path) -> None:
        """Puts the temperature and the figures into the manifest, and the report's four files beside it."""
        rows = self.data.split.eval
        logits = served_logits(folder, [row.text for row in rows], self.data.labels)
        expected = np.array(self.data.numbers(rows))
        fitted, after = cross_fitted(logits, expected, halves(rows, self.seed))
        judged = report(expected, softmax(logits / fitted), self.data.labels)
        before = _error(softmax(logits), expected)
        self.say(
            f"served, on {judged.texts} eval texts: accuracy {judged.accuracy:.4f}, macro-F1 {judged.macro_f1:.4f}, "
            f"ECE {before:.4f}, after calibration {after:.4f} (cross-fitted)"
        )
        figures = figures_of(judged, before, after, fitted)
        manifest = read_manifest(folder)
        whole = {**self.made, "metrics": {**manifest.metrics, EVAL_METRICS: figures}, "confusion": judged.confusion}
        files = {
            REPORT_FILE: (json.dumps(whole, ensure_ascii=False, indent=2) + "\n").encode(),
            TEXT_FILE: judged.as_text().encode(),
            CONFUSION_FILE: confusion_png(judged.confusion, self.data.labels),
            CURVES_FILE: curves_png(panels(self.made["history"]), self.made["history"]["best_epoch"]),
        }
        for name, content in files.items():
            (folder / name).write_bytes(content)
        manifest = manifest.model_copy(
            update={
                "temperature": Calibration(sentiment=round(fitted, 4)),
                "metrics": {**manifest.metrics, EVAL_METRICS: figures},
                "files": {**manifest.files, **{name: sha256_of(folder / name) for name in files}},
            }
        )
        write_manifest(folder, manifest)
        (folder / CARD_FILE).write_text(card.describe(manifest), encoding="utf-8")


def figures_of(judged: ClassificationReport, before: float, after: float, fitted: float) -> dict[str, Any]:
    """The manifest's part of the report."""
    return {
        "texts": judged.texts,
        "accuracy": judged.accuracy,
        "macro_f1": judged.macro_f1,
        "calibration_error_before": before,
        "calibration_error": after,
        "calibration": {"temperature": round(fitted, 4), "error_measured_by": _CROSS_FITTED},
        "per_class": {
            figures.label: {
                "precision": figures.precision,
                "recall": figures.recall,
                "f1": figures.f1,
                "texts": figures.texts,
            }
            for figures in judged.per_class
        },
    }


def served_logits(folder: Path, texts: Sequence[str], labels: Sequence[str]) -> FloatArray:
    """Logarithms [N, L] of the scores that the worker would give with temperature 1: logits but for a constant."""
    model = Classifier.load(folder, run_tokens=_RUN_TOKENS, threads=torch.get_num_threads())
    found = [
        [result.sentiment.scores[label] for label in labels]
        for start in range(0, len(texts), _CHUNK_TEXTS)
        for result in model.classify([Job(text, True, None) for text in texts[start : start + _CHUNK_TEXTS]])
        if result.sentiment is not None
    ]
    return np.log(np.maximum(np.array(found, np.float64), 1e-12))


def cross_fitted(
    logits: FloatArray, expected: npt.NDArray[np.intp], parts: Sequence[npt.NDArray[np.intp]]
) -> tuple[float, float]:
    """The temperature fitted on all texts, and the calibration error with each part's temperature from the others."""
    scores = np.empty_like(logits)
    for part in parts:
        others = np.setdiff1d(np.arange(len(expected)), part)
        scores[part] = softmax(logits[part] / _fitted(logits[others], expected[others]))
    return _fitted(logits, expected), _error(scores, expected)


def panels(history: dict[str, Any]) -> dict[str, dict[str, Curve]]:
    """The learning curves: losses, and scores on the eval part."""
    return {
        "Loss": {"train": train_curve(history), "eval": epoch_curve(history, "loss")},
        "Eval part": {"accuracy": epoch_curve(history, "accuracy"), "macro-F1": epoch_curve(history, "macro_f1")},
    }


def _fitted(logits: FloatArray, expected: npt.NDArray[np.intp]) -> float:
    # Bounded, since texts that are all classified rightly would ask for a temperature of 0, and scores of 1.
    return temperature([(logits, expected)], low=LEAST_TEMPERATURE, high=MOST_TEMPERATURE)


def _error(scores: FloatArray, expected: npt.NDArray[np.intp]) -> float:
    return calibration_error(scores.max(axis=1).tolist(), (scores.argmax(axis=1) == expected).tolist())
