"""A batch in hand: how it is cut, what of it goes through the model next, and which half another slot gets."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.messages import Entry, RawEntry
from schemas.names import Lane
from worker.draft import Draft, Work
from worker.hand import Hand, parts
from worker.outcome import Done
from worker.pace import Pace

COMMENT, TICKET = Work(), Work(routing=True)
PORTION_TOKENS = 100
SIZES = st.lists(
    st.tuples(st.integers(min_value=0, max_value=300), st.sampled_from([COMMENT, TICKET])), min_size=1, max_size=60
)
PORTION = st.tuples(
    st.just("portion"),
    st.integers(min_value=0),
    st.floats(min_value=0.1, max_value=10),
    st.floats(min_value=0, max_value=500),
    st.booleans(),
)
HALF = st.tuples(st.just("half"), st.integers(min_value=0))
EMPTY = st.tuples(st.just("entries"), st.integers(min_value=0))


@pytest.fixture
def pace() -> Pace:
    return _pace()


def _pace() -> Pace:
    """100 tokens make a portion."""
    return Pace(50.0)


def _entry(number: int, lane: Lane = Lane.BULK, deliveries: int = 1, text: bytes = b"x") -> RawEntry:
    return RawEntry(lane, f"{number + 1}-0", {b"text": text}, deliveries)


def _draft(number: int, tokens: float, work: Work = COMMENT) -> Draft:
    entry = _entry(number)
    return Draft(entry, Entry(Lane.BULK, entry.entry_id, "1", "x"), work, tokens)


def _drafts(*tokens: float) -> list[Draft]:
    return [_draft(number, each) for number, each in enumerate(tokens)]


def _waiting(drafts: Sequence[Draft], lane: Lane = Lane.BULK) -> Hand:
    hand = Hand([draft.raw for draft in drafts])
    hand.wait(lane, drafts)
    return hand


def _all_of(hand: Hand, pace: Pace) -> list[Draft]:
    """What waits in it; nothing does afterwards."""
    return hand.portion(pace, 1e9)


def _tokens(drafts: Sequence[Draft]) -> list[float]:
    return [draft.tokens for draft in drafts]


def _numbers(drafts: Sequence[Draft]) -> list[int]:
    return [int(draft.raw.entry_id.split("-")[0]) - 1 for draft in drafts]


def test_a_batch_is_cut_live_before_bulk() -> None:
    # Given a batch of both inboxes, mixed
    batch = [_entry(n, Lane.BULK if n % 2 else Lane.LIVE) for n in range(6)]
    # When it is taken in hand
    hand = Hand.of(batch, most_chars=1000, poison_after=3)
    # Then its parts are of one inbox each, live first, in the order in which they came, and nothing of it is settled
    assert [[batch[0], batch[2], batch[4]], [batch[1], batch[3], batch[5]]] == hand.unread
    assert batch == list(hand.rest.values())
    assert hand.empty()


def test_long_texts_of_a_batch_are_cut_within_their_inbox() -> None:
    # Given three live entries and a bulk one, of 100 Chinese characters each, and parts of no more than 200
    batch = [_entry(n, text=("长" * 100).encode(), lane=Lane.LIVE if n < 3 else Lane.BULK) for n in range(4)]
    hand = Hand.of(batch, most_chars=200, poison_after=3)
    # When they are cut, then the last live one does not share its part with bulk
    assert [batch[:2], batch[2:3], batch[3:]] == hand.unread


def test_entries_of_both_inboxes_may_have_the_same_id() -> None:
    batch = [_entry(0, Lane.LIVE), _entry(0, Lane.BULK)]
    hand = Hand.of(batch, most_chars=1000, poison_after=3)
    hand.settled(batch[:1])
    assert batch[1:] == hand.entries()


@pytest.mark.parametrize(("deliveries", "suspect"), [((1, 1), False), ((1, 3), False), ((1, 4), True)])
def test_what_was_delivered_too_often_makes_a_suspect(deliveries: tuple[int, ...], suspect: bool) -> None:
    batch = [_entry(number, deliveries=times) for number, times in enumerate(deliveries)]
    assert suspect is Hand.of(batch, most_chars=1000, poison_after=3).suspect


def test_an_over_long_entry_is_a_part_by_itself() -> None:
    batch = [_entry(0), _entry(1, text=b"x" * 1000), _entry(2)]
    assert [[entry] for entry in batch] == list(parts(batch, 10))


def test_nothing_has_no_parts() -> None:
    assert [] == list(parts([], 10))
    assert [] == Hand.of([], most_chars=10, poison_after=3).unread


@given(st.lists(st.integers(min_value=0, max_value=100), max_size=50), st.integers(min_value=1, max_value=100))
def test_parts_hold_everything_in_order_and_no_more_than_they_may(sizes_bytes: list[int], most_chars: int) -> None:
    batch = [_entry(number, text=b"x" * size) for number, size in enumerate(sizes_bytes)]
    cut = list(parts(batch, most_chars))
    assert batch == [entry for part in cut for entry in part]
    for part in cut:
        assert len(part) == 1 or sum(len(entry.fields[b"text"]) for entry in part) <= 3 * most_chars
    # And none is cut where the next entry would have had room
    for part, following in pairwise(cut):
        assert sum(len(entry.fields[b"text"]) for entry in [*part, following[0]]) > 3 * most_chars


def test_portions_are_the_time_in_the_model(pace: Pace) -> None:
    assert 0 == pace.portions([])
    assert pytest.approx(2.5) == pace.portions(_drafts(200, 50))


@pytest.mark.parametrize(
    ("portions", "least_tokens", "entries"),
    [(1, 0, 4), (2, 0, 8), (0.1, 0, 1), (1, 150, 6), (2, 150, 8), (1, 10_000, 12)],
    ids=["a portion", "two", "never none", "at least a run", "a run is less", "a run is all there is"],
)
def test_a_portion_is_so_much_time_or_so_many_tokens(
    pace: Pace, portions: float, least_tokens: float, entries: int
) -> None:
    # Given twelve texts of which four make a portion, then the larger of time and tokens counts
    assert entries == len(pace.portion(_drafts(*[25] * 12), portions, least_tokens))


def test_what_waits_goes_longest_first_and_each_once(pace: Pace) -> None:
    # Given texts that wait in the order in which they came
    hand = _waiting(_drafts(20, 100, 60, 40, 30))
    assert not hand.empty()
    assert pytest.approx(2.5) == hand.portions_left(pace)
    # When portion after portion is taken, then the longest goes first, and at the end nothing is left
    assert [[100], [60, 40], [30, 20], []] == [_tokens(hand.portion(pace)) for _ in range(4)]
    assert hand.empty()
    assert 0 == hand.portions_left(pace)
    # But none of it is settled
    assert 5 == len(hand.rest)


@pytest.mark.parametrize(("shared", "sizes"), [(False, [8, 4]), (True, [6, 4, 2])])
def test_who_shares_takes_no_more_than_half_of_what_is_left(pace: Pace, shared: bool, sizes: list[int]) -> None:
    # Given three portions of four texts, of which two portions may go at once
    hand = _waiting(_drafts(*[25] * 12))
    # When they are taken, then alone it takes two portions; shared, half of what is left, but never less than a portion
    assert sizes == [len(hand.portion(pace, 2, shared=shared)) for _ in sizes]
    assert hand.empty()


def test_who_shares_takes_no_more_than_is_allowed_either(pace: Pace) -> None:
    assert 8 == len(_waiting(_drafts(*[25] * 100)).portion(pace, 2, shared=True))


def test_a_run_is_filled_even_where_work_is_shared(pace: Pace) -> None:
    # Given three portions, and runs of the model that take two
    hand = _waiting(_drafts(*[25] * 12))
    # When a part of it is taken, then it fills a run, since less takes hardly less time
    assert 8 == len(hand.portion(pace, 4, 200, shared=True))


def test_the_shorter_half_is_given_away(pace: Pace) -> None:
    # Given a batch with a part still to be read, and eight texts of which six portions are left
    hand = _waiting(_drafts(10, 200, 90, 100, 20, 80, 70, 30))
    hand.unread.append([_entry(8)])
    hand.rest[Lane.BULK, "9-0"] = _entry(8)
    # When another slot takes half
    given_away = hand.half(pace)
    # Then it has the shorter texts, and both halves are three portions
    assert given_away is not None
    assert 3 == hand.portions_left(pace) == given_away.portions_left(pace)
    # and each has in hand what it is to settle; what is not read yet stays
    assert {"2-0", "4-0", "9-0"} == {entry_id for _, entry_id in hand.rest}
    assert {"1-0", "3-0", "5-0", "6-0", "7-0", "8-0"} == {entry_id for _, entry_id in given_away.rest}
    assert ([[_entry(8)]], []) == (hand.unread, given_away.unread)
    assert [200, 100] == _tokens(_all_of(hand, pace))
    assert [90, 80, 70, 30, 20, 10] == _tokens(_all_of(given_away, pace))


@pytest.mark.parametrize(("read", "kept"), [(0, 2), (1, 1), (2, 0), (3, 0)])
def test_parts_that_nobody_has_read_are_given_away_where_nothing_waits(pace: Pace, read: int, kept: int) -> None:
    # Given a batch of three parts, of which some have been read and gone into the model
    batch = [_entry(n) for n in range(3)]
    hand = Hand.of(batch, most_chars=0, poison_after=3)
    for _ in range(read):
        hand.wait(Lane.BULK, [_draft(0, 1.0)])
        hand.part()
        _all_of(hand, pace)
    # When another slot asks, then it gets half of the rest, but not what this slot is about to begin with
    given_away = hand.half(pace)
    assert (kept, 3 - read - kept) == (len(hand.unread), 0 if given_away is None else len(given_away.unread))
    if given_away is not None:
        assert batch == [*hand.rest.values(), *given_away.rest.values()]
        assert (True, hand.received_at) == (given_away.reading, given_away.received_at)


@pytest.mark.parametrize("lane", Lane)
def test_a_half_has_the_lane_and_the_time_of_the_whole_and_nothing_finished(pace: Pace, lane: Lane) -> None:
    # Given a hand of which a portion is finished
    hand = _waiting(_drafts(100, 100, 100), lane)
    portion = hand.portion(pace)
    hand.finish([draft.raw for draft in portion], [Done(draft.read, ()) for draft in portion])  # type: ignore[arg-type]
    # When half of the rest is given away
    given_away = hand.half(pace)
    # Then that knows when it was received, and of which inbox it is; what is finished is not its to write
    assert given_away is not None
    assert (lane, hand.received_at) == (given_away.lane, given_away.received_at)
    assert [] == given_away.finished
    assert ({"1-0", "2-0"}, {"3-0"}) == ({key[1] for key in hand.rest}, {key[1] for key in given_away.rest})


def test_a_half_of_a_half_is_a_half(pace: Pace) -> None:
    # Given eight portions
    hand = _waiting(_drafts(*[100] * 8))
    # When half is given away, and half of that, and so on
    halves = [hand]
    while (half := halves[-1].half(pace)) is not None:
        halves.append(half)
    # Then what is left at the end is one entry
    assert [4, 2, 1, 1] == [len(half.rest) for half in halves]
    assert {f"{n + 1}-0" for n in range(8)} == {entry.entry_id for half in halves for entry in half.entries()}


@pytest.mark.parametrize(
    "tokens", [(), (1000,), (40, 40), (1,) * 99], ids=["nothing", "one text", "less than a portion", "many, but short"]
)
def test_too_little_is_not_shared(pace: Pace, tokens: tuple[float, ...]) -> None:
    hand = _waiting(_drafts(*tokens))
    assert hand.half(pace) is None
    # And nothing of it is gone
    assert len(tokens) == len(hand.rest) == len(_all_of(hand, pace))


def test_two_texts_that_are_a_portion_are_shared(pace: Pace) -> None:
    assert _waiting(_drafts(50, 50)).half(pace) is not None


def test_what_is_in_the_model_is_not_given_away(pace: Pace) -> None:
    # Given a hand whose first portion is in the model
    hand = _waiting(_drafts(100, 90, 80, 70))
    in_model = hand.portion(pace)
    # When half is given away, then it is of the others
    given_away = hand.half(pace)
    assert given_away is not None
    assert not {draft.raw.entry_id for draft in in_model} & {entry_id for _, entry_id in given_away.rest}
    # And what has all gone into the model cannot be halved
    _all_of(hand, pace)
    assert hand.half(pace) is None


def test_after_the_end_nothing_is_worked_on_or_given_away(pace: Pace) -> None:
    # Given a batch with texts that wait, and others not yet read
    batch = [_entry(n) for n in range(6)]
    hand = Hand.of(batch, most_chars=1, poison_after=3)
    hand.wait(Lane.BULK, _drafts(100, 100, 100, 100))
    hand.settled(batch[:1])
    # When its slot asks for all that is not settled
    assert batch[1:] == hand.entries()
    # Then nobody gets any of it
    assert (True, [], None) == (hand.empty(), hand.unread, hand.half(pace))
    assert [] == hand.portion(pace)
    # And asked again, it says the same
    assert batch[1:] == hand.entries()


@given(SIZES)
def test_both_halves_take_about_the_same_time_and_the_given_one_is_the_shorter(sizes: list[tuple[int, Work]]) -> None:
    # Given texts of any length and kind
    pace = _pace()
    drafts = [_draft(number, tokens, work) for number, (tokens, work) in enumerate(sizes)]
    hand = _waiting(drafts)
    all_portions = hand.portions_left(pace)
    # When half of them is given away, if they are worth it
    given_away = hand.half(pace)
    assert (given_away is not None) == (len(drafts) > 1 and sum(_tokens(drafts)) >= PORTION_TOKENS)
    if given_away is None:
        return
    kept_portions, given_portions = hand.portions_left(pace), given_away.portions_left(pace)
    kept, given_drafts = _all_of(hand, pace), _all_of(given_away, pace)
    # Then neither half is empty, and they differ by no more than twice the longest text
    assert kept
    assert given_drafts
    assert pytest.approx(all_portions) == kept_portions + given_portions
    assert abs(kept_portions - given_portions) <= 2 * max(_tokens(drafts)) / PORTION_TOKENS + 1e-6
    # and of one kind no text that was given is longer than one that was kept
    for work in (COMMENT, TICKET):
        kept_tokens = [draft.tokens for draft in kept if draft.work == work]
        given_tokens = [draft.tokens for draft in given_drafts if draft.work == work]
        assert min(kept_tokens, default=1e9) >= max(given_tokens, default=0)


@given(SIZES, st.lists(st.one_of(PORTION, HALF, EMPTY), max_size=60))
def test_whatever_is_taken_and_given_away_nothing_is_lost_or_twice(
    sizes: list[tuple[int, Work]], steps: list[tuple[Any, ...]]
) -> None:
    # Given texts of any length in one hand
    pace = _pace()
    hands = [_waiting([_draft(number, tokens, work) for number, (tokens, work) in enumerate(sizes)])]
    taken: list[list[Draft]] = [[]]
    left_over: set[int] = set()
    # When portions are taken and halves given away in any order, from any hand; and some hands come to their end
    for step, which, *options in steps:
        index = which % len(hands)
        if step == "portion":
            portions, least_tokens, shared = options
            portion = hands[index].portion(pace, portions, least_tokens, shared=shared)
            taken[index] += portion
        elif step == "half":
            given_away = hands[index].half(pace)
            if given_away is not None:
                hands.append(given_away)
                taken.append([])
        else:
            ended = {int(entry.entry_id.split("-")[0]) - 1 for entry in hands[index].entries()}
            left_over |= ended - set(_numbers(taken[index]))
    for hand, drafts in zip(hands, taken, strict=True):
        drafts.extend(_all_of(hand, pace))
        # Then what went into the model from a hand is that hand's to settle
        assert {draft.raw.entry_id for draft in drafts} <= {entry_id for _, entry_id in hand.rest}
    # and each text went into the model once, or was still there when its hand came to its end
    in_model = [number for drafts in taken for number in _numbers(drafts)]
    assert list(range(len(sizes))) == sorted([*in_model, *left_over])
    # and exactly one hand settles it, or gives it back
    assert list(range(len(sizes))) == sorted(int(id_.split("-")[0]) - 1 for hand in hands for _, id_ in hand.rest)
