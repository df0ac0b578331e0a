"""Temperatures that turn logits and centred cosines into scores that mean something; fitted on dev texts only."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
_GOLDEN = (5**0.5 - 1) / 2


def negative_log_likelihood(logits: FloatArray, labels: npt.NDArray[np.intp]) -> float:
    """Mean over texts of -log softmax(logits)[label]; logits [N, labels]."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    picked = shifted[np.arange(len(labels)), labels]
    return float((np.log(np.exp(shifted).sum(axis=1)) - picked).mean())


def temperature(
    sets: Sequence[tuple[FloatArray, npt.NDArray[np.intp]]], low: float = 1e-3, high: float = 20.0
) -> float:
    """The one temperature with the least mean negative log likelihood, each set counting the same.

    Golden-section search on the logarithm; the loss has a single valley.
    """
    return float(
        np.exp(
            _minimum(
                lambda log: float(
                    np.mean([negative_log_likelihood(logits / np.exp(log), labels) for logits, labels in sets])
                ),
                float(np.log(low)),
                float(np.log(high)),
            )
        )
    )


def _minimum(loss: Callable[[float], float], low: float, high: float) -> float:
    while high - low > 1e-4:
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if loss(left) < loss(right):
            high = right
        else:
            low = left
    return (low + high) / 2


def logistic(values: FloatArray, hits: npt.NDArray[np.bool_], steps: int = 50) -> tuple[float, float]:
    """(temperature, bias) such that sigmoid((value - bias) / temperature) fits `hits` best. Newton's method."""
    scale = float(values.std()) or 1.0
    features = np.stack([values / scale, np.ones_like(values)], axis=1)
    weights = np.zeros(2)
    for _ in range(steps):
        probability = 1 / (1 + np.exp(-features @ weights))
        gradient = features.T @ (probability - hits)
        curvature = (features * (probability * (1 - probability))[:, None]).T @ features + 1e-6 * np.eye(2)
        weights -= np.linalg.solve(curvature, gradient)
    slope = max(float(weights[0]), 1e-6) / scale
    return 1 / slope, -float(weights[1]) / slope
