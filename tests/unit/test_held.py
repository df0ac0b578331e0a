"""What a process holds, and how long its slots have been in the model."""

from __future__ import annotations

import threading
import time

from schemas.messages import RawEntry
from schemas.names import Lane
from worker.held import Held, Key


def test_entries_of_both_inboxes_are_held_until_removed() -> None:
    # Given the same id in both inboxes
    live, bulk = RawEntry(Lane.LIVE, "1-1", {}), RawEntry(Lane.BULK, "1-1", {})
    held = Held()
    held.add([live, bulk])
    # When one is removed, then the other is still held
    held.remove([live])
    assert [bulk] == held.entries()
    held.remove([bulk, live])
    assert [] == held.entries()


def test_the_slowest_slot_is_what_counts() -> None:
    held = Held()
    assert 0.0 == held.longest_in_model_s()
    inside, leave = threading.Event(), threading.Event()

    def slow() -> None:
        with held.in_model():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=slow)
    thread.start()
    inside.wait(10)
    before = held.longest_in_model_s()
    with held.in_model():
        assert held.longest_in_model_s() >= before > 0
    leave.set()
    thread.join()
    assert 0.0 == held.longest_in_model_s()


def test_a_slot_that_gets_on_is_not_slow() -> None:
    held = Held()
    with held.in_model():
        time.sleep(0.02)
        before = held.longest_in_model_s()
        held.progressed()
        assert held.longest_in_model_s() < before
    # and a thread that is not in the model leaves no mark
    held.progressed()
    assert 0.0 == held.longest_in_model_s()


def test_what_is_let_go_is_not_refreshed_afterwards() -> None:
    # Given a refresh that has begun with an entry
    entry, held, begun, go_on = RawEntry(Lane.LIVE, "1-1", {}), Held(), threading.Event(), threading.Event()
    held.add([entry])
    happened: list[str] = []

    def refresh(entries: object) -> set[Key]:
        begun.set()
        assert go_on.wait(10)
        happened.append("refreshed")
        return set()

    refreshing = threading.Thread(target=held.refresh, args=(refresh,))
    refreshing.start()
    assert begun.wait(10)
    # When the entry is let go meanwhile, then that takes until the refresh is over
    letting_go = threading.Thread(target=lambda: (held.let_go([entry]), happened.append("let go")))
    letting_go.start()
    letting_go.join(0.1)
    go_on.set()
    letting_go.join(10)
    refreshing.join(10)
    assert ["refreshed", "let go"] == happened
    # and no refresh that begins later knows it
    assert 0 == held.refresh(refresh)


def test_what_is_no_longer_pending_is_lost_until_it_is_read_again() -> None:
    # Given two entries in hand, one of which somebody else has settled
    ours, theirs, held = RawEntry(Lane.LIVE, "1-1", {}), RawEntry(Lane.LIVE, "1-2", {}), Held()
    held.add([ours, theirs])
    held.refresh(lambda entries: {(Lane.LIVE, "1-1")})
    # Then that one is lost
    assert {(Lane.LIVE, "1-2")} == held.lost([ours, theirs])
    # And no longer when it comes again, after the group was made anew
    held.add([theirs])
    assert set() == held.lost([ours, theirs])


def test_who_has_not_refreshed_for_long_or_claimed_from_others_cannot_be_sure() -> None:
    entry, held = RawEntry(Lane.LIVE, "1-1", {}), Held()
    held.add([entry])
    assert not held.unsure([entry], 60)
    time.sleep(0.02)
    assert held.unsure([entry], 0.01)
    held.refresh(lambda entries: {(Lane.LIVE, "1-1")})
    assert not held.unsure([entry], 0.5)
    assert held.unsure([RawEntry(Lane.LIVE, "1-1", {}, deliveries=2)], 60)
