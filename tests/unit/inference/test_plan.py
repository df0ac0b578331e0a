"""Which sequences run together: all once, within the budget, as cheaply as can be."""

from collections import Counter
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from worker.inference.plan import MOST_PADDING_TOKENS, RUN_COSTS_TOKENS, plan

LENGTHS = st.lists(st.integers(1, 200), max_size=80)


def padding_tokens(lengths: list[int], group: list[int]) -> int:
    return sum(max(lengths[number] for number in group) - lengths[number] for number in group)


def cost_tokens(lengths: list[int], groups: list[list[int]]) -> int:
    return sum(RUN_COSTS_TOKENS + padding_tokens(lengths, group) for group in groups)


@given(LENGTHS, st.integers(1, 1_000))
def test_every_sequence_runs_exactly_once(lengths, run_tokens):
    groups = plan(lengths, run_tokens)
    assert Counter(range(len(lengths))) == Counter(number for group in groups for number in group)


@given(LENGTHS, st.integers(1, 1_000))
def test_no_run_is_over_the_budget_unless_it_is_one_sequence(lengths, run_tokens):
    for group in plan(lengths, run_tokens):
        assert len(group) == 1 or len(group) * max(lengths[number] for number in group) <= run_tokens


@given(LENGTHS, st.integers(1, 1_000))
def test_no_run_could_be_cut_in_two_for_less(lengths, run_tokens):
    for group in plan(lengths, run_tokens):
        assert padding_tokens(lengths, group) <= MOST_PADDING_TOKENS
        for cut in range(1, len(group)):
            assert cost_tokens(lengths, [group]) <= cost_tokens(lengths, [group[:cut], group[cut:]])


@given(st.lists(st.integers(1, 8), min_size=1, max_size=8), st.integers(8, 64))
def test_no_other_cut_costs_less(lengths, run_tokens):
    # Given every way to cut a few sorted sequences into runs that keep within the budget
    order = sorted(range(len(lengths)), key=lambda number: -lengths[number])
    ways = [
        [order[start:end] for start, end in zip((0, *cuts), (*cuts, len(order)), strict=True)]
        for count in range(len(order))
        for cuts in combinations(range(1, len(order)), count)
    ]
    allowed = [way for way in ways if all(len(group) * lengths[group[0]] <= run_tokens for group in way)]
    # then the plan costs what the cheapest does
    assert min(cost_tokens(lengths, way) for way in allowed) == cost_tokens(lengths, plan(lengths, run_tokens))


@given(LENGTHS, st.integers(200, 1_000))
def test_runs_hold_like_lengths(lengths, run_tokens):
    # When sequences are grouped, then no run could swap a sequence with a later run and become more even
    in_order = [lengths[number] for group in plan(lengths, run_tokens) for number in group]
    assert sorted(lengths, reverse=True) == in_order
