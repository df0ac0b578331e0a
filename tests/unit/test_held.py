"""What a process holds, and how long its slots have been in the model."""

from __future__ import annotations

import threading
import time

from schemas.messages import RawEntry
from schemas.names import Lane
from worker.held import Held


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

    def refresh(entries: object) -> None:
        begun.set()
        assert go_on.wait(10)
        happened.append("refreshed")

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
