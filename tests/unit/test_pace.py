"""Portions sized by what the model has taken so far."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.messages import Entry, RawEntry
from schemas.names import Lane
from worker.draft import Draft, Work
from worker.pace import FIRST_MS_PER_TOKEN, Pace, by_size

COMMENT, TICKET = Work(), Work(routing=True)
DRAFTS = st.lists(
    st.tuples(st.floats(min_value=0, max_value=2000), st.sampled_from([COMMENT, TICKET])), min_size=1, max_size=300
)


def _draft(tokens: float, work: Work = COMMENT, number: int = 0) -> Draft:
    entry_id = f"{number + 1}-0"
    return Draft(RawEntry(Lane.BULK, entry_id, {}), Entry(Lane.BULK, entry_id, "1", "x"), work, tokens)


def _portions(pace: Pace, waiting: Sequence[Draft]) -> list[list[Draft]]:
    found = []
    while waiting:
        found.append(pace.portion(waiting))
        waiting = waiting[len(found[-1]) :]
    return found


def _taught(pace: Pace, ms_per_token: float, work: Work = COMMENT, times: int = 200) -> Pace:
    for _ in range(times):
        pace.learn([_draft(100, work)], 100 * ms_per_token)
    return pace


@given(DRAFTS, st.floats(min_value=1, max_value=500), st.floats(min_value=0.001, max_value=10))
def test_every_entry_is_in_one_portion_in_order_and_no_portion_is_over(
    sizes: list[tuple[float, Work]], portion_ms: float, ms_per_token: float
) -> None:
    # Given entries of any size and a model of any speed
    pace = _taught(Pace(portion_ms), ms_per_token, times=5)
    drafts = by_size([_draft(tokens, work, number) for number, (tokens, work) in enumerate(sizes)])
    # When they are cut into portions
    portions = _portions(pace, drafts)
    # Then each is there once, in order, and none takes longer than it may, but for one that is alone
    assert drafts == [draft for portion in portions for draft in portion]
    for portion in portions:
        assert len(portion) == 1 or sum(map(pace.cost_ms, portion)) <= portion_ms + 1e-6


def test_portions_fill_their_time() -> None:
    # Given a model that takes a fifth of a millisecond for a token
    pace = _taught(Pace(50.0), 0.2)
    # When 100 entries of 25 tokens are cut, then ten make a portion of 50 ms
    portions = _portions(pace, [_draft(25)] * 100)
    assert {9, 10} >= {len(portion) for portion in portions[:-1]}


def test_before_anything_is_measured_the_worst_is_assumed() -> None:
    assert 100 * FIRST_MS_PER_TOKEN == Pace(50.0).cost_ms(_draft(100))
    assert 1 == len(Pace(50.0).portion([_draft(100), _draft(100)]))


def test_the_first_portion_that_runs_over_makes_the_next_one_smaller() -> None:
    # Given a model that was quick
    pace = _taught(Pace(50.0), 0.1)
    before = len(pace.portion([_draft(10)] * 100))
    # When one portion takes twice as long, then the next is smaller by a quarter at least
    pace.learn([_draft(10)] * before, 100.0)
    assert len(pace.portion([_draft(10)] * 100)) <= 0.75 * before


def test_one_that_took_very_long_is_forgotten_within_some_portions() -> None:
    # Given an entry whose model had to be loaded first
    pace = _taught(Pace(50.0), 0.2)
    pace.learn([_draft(25)], 20_000.0)
    # When those after it take their usual time
    _taught(pace, 0.2, times=40)
    # Then portions have their old size again
    assert len(pace.portion([_draft(25)] * 100)) >= 8


def test_kinds_of_work_are_measured_apart() -> None:
    pace = _taught(_taught(Pace(50.0), 0.1), 1.0, TICKET)
    assert pytest.approx(10, rel=0.1) == pace.cost_ms(_draft(100))
    assert pytest.approx(100, rel=0.1) == pace.cost_ms(_draft(100, TICKET))


def test_what_ran_without_a_model_teaches_nothing() -> None:
    pace = Pace(50.0)
    before = pace.cost_ms(_draft(10)), pace.usual_entries()
    pace.learn([], 3.0)
    pace.learn([_draft(0)], 3.0)
    assert before[0] == pace.cost_ms(_draft(10))


def test_the_usual_entry_says_how_many_live_ones_make_a_portion() -> None:
    assert 10 == _taught(Pace(52.5), 0.05).usual_entries()  # 100 tokens in 5 ms
    assert 1 == _taught(Pace(50.0), 5.0).usual_entries()


def test_like_stands_beside_like_longest_first() -> None:
    drafts = [_draft(5, TICKET), _draft(7), _draft(9, TICKET), _draft(8)]
    assert [8, 7, 9, 5] == [draft.tokens for draft in by_size(drafts)]
