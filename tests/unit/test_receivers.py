"""How many calls a webhook gets at once, when it rests, and how long the pauses are."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from worker.relay.backoff import Backoff
from worker.relay.receivers import Receivers


class Widest(random.Random):
    """Draws the upper bound, always."""

    def uniform(self, a: float, b: float) -> float:
        return b


class Clock:
    """A clock that a test sets."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def known() -> tuple[Receivers, Clock]:
    clock = Clock()
    return Receivers(Backoff(2.0, 60.0, Widest()), clock), clock


def calls(receivers: Receivers, webhook_id: int, *answered: bool) -> None:
    for each in answered:
        receivers.rooms([webhook_id])
        receivers.started(webhook_id)
        receivers.ended(webhook_id, answered=each)


@given(st.floats(0.001, 100), st.floats(0.001, 10_000), st.integers(1, 1_000), st.integers())
def test_pauses_are_drawn_from_nothing_to_a_bound_that_doubles(
    first_s: float, most_s: float, failures: int, seed: int
) -> None:
    backoff = Backoff(first_s, most_s, random.Random(seed))
    assert min(first_s, most_s) <= backoff.bound_s(failures) <= most_s
    assert 0.0 <= backoff.pause_s(failures) <= backoff.bound_s(failures)
    assert min(most_s, 2 * backoff.bound_s(failures)) == backoff.bound_s(failures + 1) or failures > 60


@given(st.floats(0, 1e12), st.integers(1, 20))
def test_what_the_receiver_asks_for_is_heard_within_bounds(asked_s: float, failures: int) -> None:
    pause_s = Backoff(2.0, 60.0).pause_s(failures, asked_s)
    assert min(asked_s, 60.0) <= pause_s <= 60.0


def test_a_receiver_earns_its_room_and_loses_it_at_once() -> None:
    receivers, _ = known()
    assert {1: 1} == receivers.rooms([1])
    calls(receivers, 1, True)
    assert {1: 2} == receivers.rooms([1])
    calls(receivers, 1, True, True, True)
    assert {1: 4} == receivers.rooms([1])
    receivers.started(1)
    assert {1: 3, 2: 1} == receivers.rooms([1, 2])
    receivers.ended(1, answered=False)
    assert {1: 1} == receivers.rooms([1])


def test_a_receiver_that_is_down_is_left_alone_for_a_while() -> None:
    receivers, clock = known()
    calls(receivers, 1, False, False)
    assert {1: 1} == receivers.rooms([1])
    calls(receivers, 1, False)
    assert {2: 1} == receivers.rooms([1, 2])
    clock.now_s = 2.0
    assert {1: 1} == receivers.rooms([1])
    # Longer each time, up to half a minute; with a success it is over.
    calls(receivers, 1, *[False] * 20)
    clock.now_s += 29.9
    assert {} == receivers.rooms([1])
    clock.now_s += 0.2
    calls(receivers, 1, True, False)
    assert {1: 1} == receivers.rooms([1])


def test_a_receiver_that_asks_for_time_gets_it() -> None:
    receivers, clock = known()
    receivers.rooms([1])
    receivers.started(1)
    receivers.ended(1, answered=False, retry_after_s=10_000.0)
    clock.now_s = 59.0
    assert {} == receivers.rooms([1])
    clock.now_s = 60.0
    assert {1: 1} == receivers.rooms([1])


def test_not_all_webhooks_of_the_world_are_called_at_once() -> None:
    receivers, _ = known()
    many = range(1_000)
    assert 256 == sum(receivers.rooms(many).values())
