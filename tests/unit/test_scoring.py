"""Measures of quality: what scikit-learn and SciPy say of the same results, and what always holds."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.desk.scoring import Judged, calibration_bins, loss, report, share

TEAMS = ["billing", "delivery", "login", "returns"]


def drawn() -> list[Judged]:
    """60 results of which some 70 % are right; one team is only ever predicted."""
    dice = random.Random(5)
    found = []
    for _ in range(60):
        truth = dice.choice(TEAMS[:3])
        predicted = truth if dice.random() < 0.7 else dice.choice(TEAMS)
        score = round(dice.uniform(0.25, 1), 3)
        found.append(Judged(truth, predicted, score, score >= 0.7))
    return found


def test_accuracy_and_f1_are_those_of_scikit_learn() -> None:
    made = report(drawn())
    assert pytest.approx(0.6833333333333333) == made.accuracy.value
    assert pytest.approx((0.5576623297382323, 0.7869413244763347)) == (made.accuracy.low, made.accuracy.high)
    assert pytest.approx(0.5258736559139785) == made.macro_f1
    assert [
        ("billing", 16, 0.66666667, 0.625, 0.64516129),
        ("delivery", 27, 0.9047619, 0.7037037, 0.79166667),
        ("login", 17, 0.63157895, 0.70588235, 0.66666667),
        ("returns", 0, 0.0, 0.0, 0.0),
    ] == [
        (each.label, each.items, round(each.precision, 8), round(each.recall, 8), round(each.f1, 8))
        for each in made.labels
    ]


def test_ten_results_by_hand() -> None:
    # Given ten sentiments, of which two are wrong and three are not sure
    judged = [
        *[Judged("positive", "positive", 0.95, True)] * 4,
        *[Judged("negative", "negative", 0.85, True)] * 2,
        Judged("negative", "positive", 0.95, True),
        *[Judged("negative", "negative", 0.55, False)] * 2,
        Judged("positive", "negative", 0.55, False),
    ]
    # When they are measured
    made = report(judged)
    # Then these are the numbers
    assert (8, 10, 0.8) == (made.accuracy.right, made.accuracy.items, made.accuracy.value)
    assert {("positive", "positive"): 4, ("negative", "negative"): 4, ("negative", "positive"): 1,
            ("positive", "negative"): 1} == made.confusion  # fmt: skip
    assert pytest.approx(0.8) == made.macro_f1
    assert [(0.5, 3, 0.55, 2 / 3), (0.8, 2, 0.85, 1.0), (0.9, 5, 0.95, 0.8)] == [
        (each.low, each.items, pytest.approx(each.score), pytest.approx(each.right)) for each in made.bins
    ]
    assert pytest.approx(0.3 * (2 / 3 - 0.55) + 0.2 * 0.15 + 0.5 * 0.15) == made.calibration_error
    assert (7, 10) == (made.covered.right, made.covered.items)
    assert made.covered_accuracy is not None
    assert (6, 7) == (made.covered_accuracy.right, made.covered_accuracy.items)


def test_few_results_make_a_wide_interval() -> None:
    # As scipy.stats.binomtest(17, 20).proportion_ci(method="wilson") has it
    assert pytest.approx((0.6395811352592431, 0.9476312541037835)) == (share(17, 20).low, share(17, 20).high)
    assert (1.0, True) == (share(3, 3).high, share(3, 3).low < 0.45)


@given(st.integers(1, 2000).flatmap(lambda items: st.tuples(st.integers(0, items), st.just(items))))
def test_a_share_lies_in_its_interval_and_more_items_make_it_narrower(given_share: tuple[int, int]) -> None:
    right, items = given_share
    one, ten = share(right, items), share(10 * right, 10 * items)
    assert 0 <= one.low <= one.value <= one.high <= 1
    assert ten.high - ten.low < one.high - one.low


RESULTS = st.lists(
    st.builds(Judged, st.sampled_from("abc"), st.sampled_from("abcd"), st.floats(0, 1), st.booleans()), min_size=1
)


@given(RESULTS)
def test_the_parts_agree_with_the_whole(judged: list[Judged]) -> None:
    made = report(judged)
    assert len(judged) == sum(made.confusion.values()) == sum(each.items for each in made.bins)
    assert len(judged) == sum(each.items for each in made.labels) == sum(each.predicted for each in made.labels)
    assert pytest.approx(made.accuracy.value) == sum(
        each.recall * each.items / len(judged) for each in made.labels
    )  # recall, weighted
    assert 0 <= made.calibration_error <= 1
    assert 0 <= made.macro_f1 <= 1
    assert all(each.low <= each.score <= each.high for each in made.bins)


@given(RESULTS)
def test_the_order_of_results_changes_nothing_but_rounding(judged: list[Judged]) -> None:
    one, other = report(judged), report(judged[::-1])
    assert (one.accuracy, one.labels, one.covered) == (other.accuracy, other.labels, other.covered)
    assert pytest.approx(one.calibration_error) == other.calibration_error


def test_a_border_belongs_to_the_upper_bin_and_1_to_the_last() -> None:
    borders = [Judged("a", "a", number / 10, True) for number in range(11)]
    assert [1] * 9 + [2] == [each.items for each in calibration_bins(borders)]


def test_a_loss_counts_only_if_it_is_more_than_chance() -> None:
    # Newcombe 1998, Table II, method 10: 56/70 against 48/80 is a difference of 0.2, from 0.0524 to 0.3339
    lost, is_sure = loss(share(56, 70), share(48, 80))
    assert (pytest.approx(0.2), True) == (lost, is_sure)
    assert (pytest.approx(0.2), False) == loss(share(8, 10), share(6, 10))
    assert loss(share(6, 10), share(8, 10))[0] < 0


def test_of_nothing_nothing_is_said() -> None:
    with pytest.raises(ValueError, match="nothing"):
        report([])
