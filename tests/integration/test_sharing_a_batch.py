"""A slot with nothing to do and a batch that another one has: who works on what, and what is left when that breaks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from schemas.messages import RawEntry
from schemas.names import Lane
from schemas.settings import Settings
from tests.integration.collecting import FixedPace, Harness, add, left
from tests.waiting import wait_for
from worker.draft import Draft
from worker.hand import Hand
from worker.inbox import Inbox

NAMES = [f"e{n:02}" for n in range(32)]  # as many as a first read brings
LIMIT_S = 30


@pytest.fixture
def quick(settings: Settings) -> Settings:
    """A batch brings all that waits, runs of the model are no longer than a portion, nobody claims what another has."""
    changes = {"batch_entries": 64, "idle_poll_s": 0.05, "retry_max_s": 0.1, "run_tokens": 1, "claim_idle_s": 3600}
    return settings.model_copy(update=changes)


class Threads:
    """What each thread had in the model, in order; threads are numbered as they come."""

    def __init__(self, harness: Harness) -> None:
        self.acts: Callable[[int, list[str]], None] = lambda thread, names: None
        self.runs: list[tuple[int, list[RawEntry]]] = []
        self._idents: list[int] = []
        self._lock = threading.Lock()
        harness.in_model = self._in_model

    def _in_model(self, entries: Sequence[RawEntry]) -> None:
        with self._lock:
            if threading.get_ident() not in self._idents:
                self._idents.append(threading.get_ident())
            thread = self._idents.index(threading.get_ident())
            self.runs.append((thread, list(entries)))
        self.acts(thread, _ids(entries))

    def portions(self, thread: int) -> list[list[str]]:
        """The portions that a thread ran."""
        with self._lock:
            return [_ids(entries) for who, entries in self.runs if who == thread]

    def names(self, thread: int) -> list[str]:
        """All that a thread ran."""
        return [name for portion in self.portions(thread) for name in portion]


class Gate:
    """Where threads wait until it is opened; at the end of the test at the latest."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self.gave_up = False

    def open(self) -> None:
        self._open.set()

    def wait(self) -> None:
        self.gave_up |= not self._open.wait(LIMIT_S)


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def harness(quick: Settings, gate: Gate) -> Iterator[Harness]:
    """Two slots, portions of two entries, and nothing written before its part is done."""
    harness = Harness(quick, slots=2, pace=FixedPace(2), keep_s=3600)
    yield harness
    gate.open()
    harness.stop()


@pytest.fixture
def threads(harness: Harness) -> Threads:
    return Threads(harness)


def _ids(entries: Sequence[RawEntry]) -> list[str]:
    return [entry.fields[b"id"].decode() for entry in entries]


def _first_waits(threads: Threads, gate: Gate) -> None:
    """Whichever thread comes first stays in the model until the gate is opened."""

    def acts(thread: int, names: list[str]) -> None:
        if thread == 0:
            gate.wait()

    threads.acts = acts


@pytest.mark.parametrize("lane", Lane)
def test_a_slot_with_nothing_to_do_gets_part_of_what_another_has(
    redis_client: Any, harness: Harness, threads: Threads, gate: Gate, lane: Lane
) -> None:
    # Given a batch that comes at once to one of two slots, which is in the model until the other is there too
    add(redis_client, harness.settings, NAMES, lane)
    threads.acts = lambda thread, names: gate.wait() if thread == 0 else gate.open()
    # When it is worked off
    harness.collector.start()
    wait_for(lambda: left(redis_client, harness.settings) == (0, 0))
    assert harness.stop()
    # Then both slots had a part of it, and each entry went through the model and was written once
    assert not gate.gave_up
    assert threads.names(0)
    assert threads.names(1)
    assert sorted(NAMES) == sorted(threads.names(0) + threads.names(1))
    assert sorted(NAMES) == sorted(harness.ids())
    assert [] == harness.held.entries()


@pytest.mark.parametrize("lane", Lane)
def test_of_a_slot_that_stands_still_all_is_done_but_what_it_has_begun(
    redis_client: Any, harness: Harness, threads: Threads, gate: Gate, lane: Lane
) -> None:
    # Given a slot that stands still in its first portion of a batch
    add(redis_client, harness.settings, NAMES, lane)
    _first_waits(threads, gate)
    harness.collector.start()
    begun = 8 if lane is Lane.LIVE else 2  # of live, four portions at once
    # When the other slot takes half of what it has left, half of that, and so on
    wait_for(lambda: len(harness.ids()) == 32 - begun - 1)
    # Then one entry waits for it, which is less than a portion
    assert NAMES[:begun] == threads.names(0)
    assert sorted(NAMES[begun + 1 :]) == sorted(threads.names(1)) == sorted(harness.ids())
    wait_for(lambda: left(redis_client, harness.settings) == (begun + 1, begun + 1))
    # And it has that when it goes on
    gate.open()
    wait_for(lambda: left(redis_client, harness.settings) == (0, 0))
    assert harness.stop()
    assert NAMES[begun] in threads.names(0)
    assert sorted(NAMES) == sorted(harness.ids())
    assert [] == harness.held.entries()


def test_live_that_comes_meanwhile_goes_before_what_is_left_of_both_halves(
    redis_client: Any, harness: Harness, threads: Threads, gate: Gate
) -> None:
    # Given a bulk batch of which both slots have a half, and a live entry that comes while both are in the model
    add(redis_client, harness.settings, NAMES, Lane.BULK)

    def acts(thread: int, names: list[str]) -> None:
        if names == ["live"]:
            gate.open()
        elif thread == 0:
            gate.wait()
        elif len(threads.portions(1)) == 1:
            add(redis_client, harness.settings, ["live"])

    threads.acts = acts
    # When all is worked off
    harness.collector.start()
    wait_for(lambda: left(redis_client, harness.settings) == (0, 0))
    assert harness.stop()
    # Then it went next, before the rest of the half of the slot that came to it, and was written at once
    assert not gate.gave_up
    assert [NAMES[:2], NAMES[17:19], ["live"]] == [_ids(entries) for _, entries in threads.runs[:3]]
    assert ["live"] == threads.portions(1)[1]
    assert "live" == harness.ids()[0]
    assert sorted([*NAMES, "live"]) == sorted(harness.ids())
    assert [] == harness.held.entries()


def test_what_waits_in_the_inbox_goes_before_a_half(
    redis_client: Any, harness: Harness, threads: Threads, gate: Gate
) -> None:
    # Given a live batch for one of two slots, and bulk that nobody has
    add(redis_client, harness.settings, NAMES)
    add(redis_client, harness.settings, ["bulk"], Lane.BULK)
    threads.acts = lambda thread, names: gate.wait() if thread == 0 else gate.open()
    # When the other slot has nothing to do
    harness.collector.start()
    wait_for(lambda: left(redis_client, harness.settings) == (0, 0))
    assert harness.stop()
    # Then it takes that before it takes work from the first
    assert ["bulk"] == threads.portions(1)[0]
    assert sorted([*NAMES, "bulk"]) == sorted(harness.ids())


def test_half_of_live_is_taken_before_half_of_bulk(redis_client: Any, quick: Settings, gate: Gate) -> None:
    # Given a live and a bulk batch, each in a slot that stands still; bulk is not read before live is in the model
    harness = Harness(quick, slots=3, pace=FixedPace(2), keep_s=3600)
    threads = Threads(harness)
    live_in_model = threading.Event()
    read = harness.read

    def read_later(entries: Sequence[RawEntry]) -> list[Draft]:
        if entries[0].lane is Lane.BULK:
            live_in_model.wait(LIMIT_S)
        return read(entries)

    still: set[Lane] = set()
    lock = threading.Lock()

    def acts(thread: int, names: list[str]) -> None:
        live_in_model.set()
        lane = Lane.LIVE if names[0].startswith("l") else Lane.BULK
        with lock:
            stands_still = lane not in still
            still.add(lane)
        if stands_still:
            gate.wait()

    harness.read = read_later  # type: ignore[method-assign]
    threads.acts = acts
    add(redis_client, quick, [f"l{n:02}" for n in range(32)])
    add(redis_client, quick, [f"b{n:02}" for n in range(32)], Lane.BULK)
    # When the third slot has taken all that it can get
    try:
        harness.collector.start()
        wait_for(lambda: len(harness.ids()) == 23 + 29)
    finally:
        gate.open()
    wait_for(lambda: left(redis_client, quick) == (0, 0))
    assert harness.stop()
    # Then it had all of live first
    assert 23 * "l" + 29 * "b" == "".join(name[0] for name in harness.ids()[: 23 + 29])
    assert 64 == len(set(harness.ids())) == len(harness.ids())


def test_a_slot_that_fails_with_its_half_leaves_only_that(
    redis_client: Any, harness: Harness, threads: Threads, gate: Gate
) -> None:
    # Given a slot at whose half something breaks that nobody expected
    add(redis_client, harness.settings, NAMES)

    def acts(thread: int, names: list[str]) -> None:
        if thread == 0:
            gate.wait()
        elif len(threads.portions(1)) == 1:
            raise ValueError("nobody expected this")
        else:
            gate.open()

    threads.acts = acts
    # When all else is worked off; that slot goes on with another half
    harness.collector.start()
    wait_for(lambda: len(harness.ids()) == 20)
    assert harness.stop()
    # Then the first half is written, each entry once, and the other is left to be claimed
    assert not gate.gave_up
    assert NAMES[20:26] == threads.portions(1)[0]
    assert NAMES[:20] == sorted(harness.ids())
    assert (12, 12) == left(redis_client, harness.settings)
    assert [] == harness.held.entries()


def test_a_slot_that_fails_after_it_gave_half_away_leaves_only_the_other(
    redis_client: Any, harness: Harness, threads: Threads, gate: Gate
) -> None:
    # Given a batch of which the second slot has a half, when something breaks in the first
    add(redis_client, harness.settings, NAMES)
    failed = Gate()

    def acts(thread: int, names: list[str]) -> None:
        if thread == 0 and len(threads.portions(0)) == 1:
            gate.wait()
            raise ValueError("nobody expected this")
        if thread == 1 and len(threads.portions(1)) == 1:
            gate.open()
            failed.wait()

    threads.acts = acts
    harness.collector.start()
    wait_for(lambda: bool(threads.portions(1)) and len(harness.held.entries()) <= 12)  # the first slot has let go
    failed.open()
    # When the other goes on
    wait_for(lambda: len(harness.ids()) == 12)
    assert harness.stop()
    # Then its half is written, and no more
    assert NAMES[20:] == sorted(harness.ids())
    assert (20, 20) == left(redis_client, harness.settings)
    assert [] == harness.held.entries()


@pytest.mark.parametrize("lane", Lane)
def test_stopping_finishes_both_halves(
    redis_client: Any, harness: Harness, threads: Threads, gate: Gate, lane: Lane
) -> None:
    # Given two slots, each in the model with its half
    add(redis_client, harness.settings, NAMES, lane)
    threads.acts = lambda thread, names: gate.wait()
    harness.collector.start()
    wait_for(lambda: len(threads.runs) == 2)
    # When the worker is told to stop
    harness.stopping.set()
    harness.collector.join(LIMIT_S)
    gate.open()
    # Then both come free, all in hand is written, nothing is pending, and nobody has taken more of the other's
    assert harness.stop()
    assert sorted(NAMES) == sorted(harness.ids())
    assert (0, 0) == left(redis_client, harness.settings)
    assert 10 <= min(len(threads.names(0)), len(threads.names(1)))
    assert [] == harness.held.entries()


def test_a_half_that_is_taken_while_the_worker_stops_is_free_for_others_at_once(
    redis_client: Any, harness: Harness, threads: Threads, gate: Gate
) -> None:
    # Given a worker that is told to stop just when the collector has taken half of a batch
    add(redis_client, harness.settings, NAMES)
    _first_waits(threads, gate)
    slot = harness.collector._slot
    half = slot.half

    def half_and_stop() -> Hand | None:
        given = half()
        if given is not None:
            harness.stopping.set()
        return given

    slot.half = half_and_stop  # type: ignore[method-assign]
    harness.collector.start()
    # When it stops
    assert harness.stopping.wait(LIMIT_S)
    harness.collector.join(LIMIT_S)
    gate.open()
    assert harness.stop()
    # Then what the first slot kept is done, and another worker has the half at once, with no delivery counted
    assert NAMES[:20] == sorted(harness.ids())
    assert [] == harness.held.entries()
    other = Inbox(redis_client, harness.settings.keys, "other")
    claimed = other.claim(Lane.LIVE, other.stale(Lane.LIVE, 3600, 100), 3600)
    assert (NAMES[20:], {1}) == (sorted(_ids(claimed)), {entry.deliveries for entry in claimed})


@pytest.mark.parametrize(("lane", "portion"), [(Lane.LIVE, 8), (Lane.BULK, 2)])
def test_one_slot_shares_nothing(redis_client: Any, quick: Settings, lane: Lane, portion: int) -> None:
    # Given a worker with one slot
    harness = Harness(quick, slots=1, pace=FixedPace(2), keep_s=3600)
    threads = Threads(harness)
    slot = harness.collector._slot
    half = slot.half
    halves: list[Hand | None] = []

    def noted() -> Hand | None:
        halves.append(half())
        return halves[-1]

    slot.half = noted  # type: ignore[method-assign]  # listens in
    # When a batch is worked off, and the slot has nothing to do
    add(redis_client, quick, NAMES, lane)
    harness.collector.start()
    wait_for(lambda: left(redis_client, quick) == (0, 0))
    wait_for(lambda: bool(halves))
    assert harness.stop()
    # Then nothing was cut off for others: portions are as large as they may be, and all were written together
    assert {None} == set(halves)
    assert [NAMES[n : n + portion] for n in range(0, 32, portion)] == threads.portions(0)
    assert ("written", NAMES) == harness.events[-1]


@pytest.mark.parametrize("lane", Lane)
def test_entries_are_counted_once_however_often_they_change_hands(
    redis_client: Any, harness: Harness, threads: Threads, gate: Gate, lane: Lane
) -> None:
    # Given a batch that goes over to the other slot by halves
    add(redis_client, harness.settings, NAMES, lane)
    _first_waits(threads, gate)
    harness.collector.start()
    wait_for(lambda: len(harness.ids()) >= 23)
    gate.open()
    wait_for(lambda: left(redis_client, harness.settings) == (0, 0))
    assert harness.stop()
    # Then it was taken from the inbox once, and every entry was in one portion, and settled once
    value, labels = harness.metrics.registry.get_sample_value, {"lane": lane.value}
    assert (1, 32) == (value("fenliu_batch_entries_count", labels), value("fenliu_batch_entries_sum", labels))
    assert 32 == value("fenliu_portion_entries_sum", labels)
    assert 32 == value("fenliu_items_total", {"kind": "comment", "state": "done"})
    assert 0 == value("fenliu_redeliveries_total", labels)
    assert 0 == value("fenliu_worker_slots_busy")


def test_four_slots_that_share_all_they_get_write_every_entry_once(redis_client: Any, quick: Settings) -> None:
    # Given more slots than batches, portions of one entry, and entries of both inboxes that come while others are done
    harness = Harness(quick, slots=4, pace=FixedPace(1), keep_s=0)
    threads = Threads(harness)
    names = [f"{lane}-{n}" for lane in Lane for n in range(300)]
    harness.collector.start()
    for start in range(0, 300, 50):
        for lane in Lane:
            add(redis_client, quick, [f"{lane}-{n}" for n in range(start, start + 50)], lane)
        wait_for(lambda until=start: len(harness.ids()) > until)  # type: ignore[misc]
    # When all is worked off
    wait_for(lambda: left(redis_client, quick) == (0, 0))
    assert harness.stop()
    # Then each entry went through the model once and was written once
    assert sorted(names) == sorted(harness.ids())
    assert sorted(names) == sorted(name for _, entries in threads.runs for name in _ids(entries))
    assert [] == harness.held.entries()
