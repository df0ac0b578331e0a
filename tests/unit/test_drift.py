"""Drift: the population stability index against figures worked out by hand, and what chance alone does."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.names import Measure
from worker.desk.drift import Distribution, compare, stability_index


def test_the_index_is_the_one_of_the_textbook() -> None:
    # Given 1,000 results half and half, and 1,000 of which three in four are negative
    index, _ = stability_index({"negative": 500, "positive": 500}, {"negative": 750, "positive": 250})
    # When half an item is added to each bin, then the index is the sum over both of (q - p) ln(q / p)
    before, after, other = 500.5 / 1001, 750.5 / 1001, 250.5 / 1001
    by_hand = (after - before) * math.log(after / before) + (other - before) * math.log(other / before)
    assert pytest.approx(by_hand) == index
    assert pytest.approx(0.2747, abs=0.001) == index  # 0.25 ln 3 without the halves


def test_a_label_that_is_new_counts_and_one_that_has_gone_does_too() -> None:
    index, _ = stability_index({"a": 100, "gone": 100}, {"a": 100, "new": 100})
    assert 1 < index < math.inf


@pytest.mark.parametrize(("bins", "chi_square"), [(2, 6.635), (5, 13.277), (10, 21.666), (50, 74.919)])
def test_what_chance_does_is_near_the_quantile_of_chi_square(bins: int, chi_square: float) -> None:
    counts = {str(number): 100 for number in range(bins)}
    _, chance = stability_index(counts, counts)
    assert pytest.approx(chi_square * 2 / (100 * bins), rel=0.01) == chance


def test_without_drift_the_index_stays_below_chance_in_99_of_100_cases() -> None:
    # Given 400 pairs of samples of the same ten teams
    dice = random.Random(11)
    teams = [str(number) for number in range(10)]
    over = 0
    for _ in range(400):
        reference, now = Counter(dice.choices(teams, k=1000)), Counter(dice.choices(teams, k=200))
        index, chance = stability_index(reference, now)
        over += index > chance
    # Then about 4 are over it: 12 or more would come once in a thousand such tests
    assert over < 12


COUNTS = st.dictionaries(st.sampled_from("abcde"), st.integers(1, 1000), min_size=1)


@given(COUNTS, COUNTS)
def test_it_is_never_negative_and_the_same_both_ways(one: dict[str, int], other: dict[str, int]) -> None:
    index, _ = stability_index(one, other)
    assert index >= 0
    assert pytest.approx(index) == stability_index(other, one)[0]


@given(COUNTS)
def test_what_has_not_changed_has_an_index_of_0(counts: dict[str, int]) -> None:
    assert 0 == stability_index(counts, counts)[0]


def test_results_are_counted_by_label_score_and_length() -> None:
    rows = [("positive", 0.5, 1), ("positive", 0.99, 10), ("negative", 1.0, 9), ("negative", 0.29, 5000)]
    found = Distribution.of(rows)
    assert {"positive": 2, "negative": 2} == found.labels
    assert {"0": 1, "0.5": 1, "0.99": 2} == found.confidence
    assert {"0": 2, "10": 1, "1280": 1} == found.length
    assert found == Distribution.from_json(found.as_json())
    assert [(each.value, measure) for each, measure in zip(compare(found, found), Measure, strict=False)] == [
        (0, Measure.LABELS), (0, Measure.CONFIDENCE), (0, Measure.LENGTH),
    ]  # fmt: skip


def test_drift_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing"):
        stability_index({}, {"a": 1})
