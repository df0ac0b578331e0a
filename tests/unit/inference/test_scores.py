"""The arithmetic of scores: they mean something, stay finite and keep their order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from schemas.names import Stage
from worker.inference.scores import joined, ranked, sigmoid, softmax
from worker.inference.sentiment import probabilities

ROWS = arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 6)), elements=st.floats(-1e6, 1e6))


@given(ROWS)
def test_softmax_gives_shares_that_sum_to_one(rows):
    shares = softmax(rows)
    assert ((shares >= 0) & (shares <= 1)).all()
    np.testing.assert_allclose(np.ones(len(rows)), shares.sum(axis=-1))


@given(ROWS)
def test_sigmoid_is_finite_and_symmetric(rows):
    np.testing.assert_allclose(1.0, sigmoid(rows) + sigmoid(-rows))
    assert ((sigmoid(rows) >= 0) & (sigmoid(rows) <= 1)).all()


def test_known_values():
    assert softmax(np.array([3.0, 3.0])).tolist() == [0.5, 0.5]
    assert pytest.approx(1 / (1 + np.e)) == sigmoid(np.array([-1.0]))[0]


def test_a_higher_temperature_is_less_sure():
    logits = np.array([[0.0, 2.0]], dtype=np.float32)
    assert pytest.approx(1 / (1 + np.exp(-2.0))) == probabilities(logits, 1.0)[0, 1]
    assert pytest.approx(1 / (1 + np.exp(-0.5))) == probabilities(logits, 4.0)[0, 1]


def test_windows_are_joined_by_their_tokens():
    rows = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert joined(rows, [3, 1]).tolist() == [0.75, 0.25]
    assert joined(rows[:1], [3]).tolist() == [1.0, 0.0]


def test_scores_stand_in_descending_order():
    scores = ranked(["a", "b", "c"], np.array([0.2, 0.7, 0.1]), Stage.ENCODER)
    assert (scores.label, scores.score, list(scores.scores.items())) == ("b", 0.7, [("b", 0.7), ("a", 0.2), ("c", 0.1)])


def test_of_equal_labels_the_one_given_last_wins():
    scores = ranked(["z", "a", "m", "b"], np.array([0.3, 0.4, 0.4, 0.3]), Stage.ENCODER)
    assert list(scores.scores) == ["m", "a", "b", "z"]
