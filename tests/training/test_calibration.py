"""Temperatures found again after scores were made with a known one."""

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from training import calibration
from training.evaluation import accuracy, calibration_error, per_class


def test_the_temperature_that_made_the_labels_is_found() -> None:
    # Given labels drawn from softmax(logits / 2.5)
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 3)) * 4
    powers = np.exp(logits / 2.5)
    draws = (powers / powers.sum(1, keepdims=True)).cumsum(1)
    labels = (rng.random((len(logits), 1)) > draws).sum(1).clip(0, 2)
    # Then the search comes back to 2.5
    assert pytest.approx(2.5, rel=0.05) == calibration.temperature([(logits, labels)])


def test_the_logistic_curve_is_found() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(0.02, 0.05, 40_000)
    hits = rng.random(len(values)) < 1 / (1 + np.exp(-(values - 0.06) / 0.02))
    width, bias = calibration.logistic(values, hits)
    assert pytest.approx(0.02, rel=0.1) == width
    assert pytest.approx(0.06, rel=0.1) == bias


def test_figures_of_a_small_example() -> None:
    expected, found = ["a", "a", "b", "b"], ["a", "b", "b", "b"]
    assert 0.75 == accuracy(expected, found)
    assert {"precision": 1.0, "recall": 0.5, "f1": 0.6667, "texts": 2} == per_class(expected, found)["a"]
    assert 0.25 == calibration_error([1.0, 1.0, 1.0, 1.0], [True, False, True, True])
