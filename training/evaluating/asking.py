"""A model asked about every text: what it found, and how long it took. Figures are `training.evaluating.figures`'."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training.evaluation import CHUNK_TEXTS, FloatArray, IntArray, answers
from worker.inference.classifier import Classifier, PreparedLabels

_WARM_UP_TEXTS = 16
_MOST_S = 30.0
"""After this long no further text is timed alone: pair models with many labels take seconds for one."""


@dataclass(frozen=True, eq=False)
class Answers:
    """`probabilities` [N, L] in the order of the labels, `found` [N]: the label that the product takes, `tokens` [N].

    `batches_s`: time for all texts in batches.
    """

    probabilities: FloatArray
    found: IntArray
    tokens: IntArray
    batches_s: float


@dataclass(frozen=True)
class Latency:
    """`alone_ms`: times of texts classified one at a time; empty if none was."""

    threads: int
    run_tokens: int
    texts: int
    mean_tokens: float
    batches_s: float
    alone_ms: tuple[float, ...]

    def as_json(self) -> dict[str, Any]:
        """For a report."""
        alone: dict[str, Any] = {"texts": len(self.alone_ms)}
        if self.alone_ms:
            percentiles = np.percentile(self.alone_ms, [50, 95, 99])
            alone |= {f"p{of}_ms": round(float(at), 3) for of, at in zip((50, 95, 99), percentiles, strict=True)}
        return {
            "threads": self.threads,
            "run_tokens": self.run_tokens,
            "mean_tokens": round(self.mean_tokens, 1),
            "alone": alone,
            "batches": {
                "texts": self.texts,
                "batch_texts": CHUNK_TEXTS,
                "texts_per_s": round(self.texts / self.batches_s, 1),
            },
        }


def ask(
    model: Classifier,
    texts: Sequence[str],
    labels: Sequence[str],
    prepared: PreparedLabels | None,
    on_texts: Callable[[int], None],
) -> Answers:
    """All texts in batches, after a few to warm up; `on_texts` gets how many are done. Raises InferenceError."""
    for _ in answers(model, texts[:_WARM_UP_TEXTS], prepared):
        pass
    at = {label: number for number, label in enumerate(labels)}
    probabilities = np.empty((len(texts), len(labels)))
    found: npt.NDArray[np.intp] = np.empty(len(texts), np.intp)
    tokens: npt.NDArray[np.intp] = np.empty(len(texts), np.intp)
    row, batches_s, begun = 0, 0.0, time.perf_counter()
    for part in answers(model, texts, prepared):
        batches_s += time.perf_counter() - begun
        for scores, length in part:
            probabilities[row, [at[label] for label in scores.scores]] = list(scores.scores.values())
            found[row], tokens[row] = at[scores.label], length
            row += 1
        on_texts(row)
        begun = time.perf_counter()
    return Answers(probabilities, found, tokens, batches_s)


def time_alone(
    model: Classifier, texts: Sequence[str], prepared: PreparedLabels | None, most_texts: int
) -> tuple[float, ...]:
    """Milliseconds for each of `most_texts` texts by itself, taken evenly over the file."""
    times: list[float] = []
    for number in np.linspace(0, len(texts) - 1, min(most_texts, len(texts))).astype(int).tolist():
        begun = time.perf_counter()
        for _ in answers(model, [texts[number]], prepared):
            pass
        times.append((time.perf_counter() - begun) * 1000)
        if sum(times) > _MOST_S * 1000:
            break
    return tuple(times)
