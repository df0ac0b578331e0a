"""Long texts are cut so that nothing is lost and no window is nearly empty."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.inference.windows import OVERLAP_SHARE, spans, weights, windows

SIZES = st.tuples(st.integers(0, 5_000), st.integers(1, 600))


@given(SIZES)
def test_every_token_stands_in_a_window(sizes):
    n_tokens, room = sizes
    covered = {token for start, end in spans(n_tokens, room) for token in range(start, end)}
    assert set(range(n_tokens)) == covered


@given(SIZES)
def test_windows_of_a_long_text_are_all_full_and_the_last_ends_with_the_text(sizes):
    n_tokens, room = sizes
    found = spans(n_tokens, room)
    assert {min(n_tokens, room)} == {end - start for start, end in found}
    assert n_tokens == found[-1][1]


@given(SIZES)
def test_neighbours_overlap_by_at_least_a_quarter(sizes):
    n_tokens, room = sizes
    found = spans(n_tokens, room)
    for (_, end), (start, _) in itertools.pairwise(found):
        assert end - start >= room // OVERLAP_SHARE


@given(SIZES)
def test_no_window_is_there_for_nothing(sizes):
    # Given windows with the least overlap that is allowed, then fewer of them could not cover the text.
    n_tokens, room = sizes
    found = spans(n_tokens, room)
    stride = max(1, room - room // OVERLAP_SHARE)
    assert len(found) == 1 or (len(found) - 2) * stride + room < n_tokens


def test_a_text_that_fits_is_one_window():
    assert spans(0, 8) == [(0, 0)]
    assert spans(8, 8) == [(0, 8)]
    assert spans(9, 8) == [(0, 8), (1, 9)]


def test_a_model_without_room_for_text_is_an_error():
    with pytest.raises(ValueError, match="room"):
        spans(3, 0)


def test_each_window_carries_the_head_and_the_tail():
    # Given 10 tokens, a head of two, a tail of one and room for nine in all
    ids = np.arange(100, 110, dtype=np.int32)
    head, tail = np.array([0, 7], dtype=np.int32), np.array([2], dtype=np.int32)
    # when they are cut
    found = windows(ids, head, tail, 9)
    # then each window is a whole sequence
    assert [[0, 7, *range(100, 106), 2], [0, 7, *range(104, 110), 2]] == [window.tolist() for window in found]
    assert weights(found, 3) == [6, 6]


def test_a_window_without_text_still_weighs_something():
    bounds = np.array([0, 2], dtype=np.int32)
    assert weights([bounds], 2) == [1]
