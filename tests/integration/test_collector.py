"""Collector and slot against a real Redis: who gets what, when, and what is left when things break."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import redis

from schemas.errors import Code, DatabaseUnavailableError, RowRefusedError
from schemas.messages import RawEntry
from schemas.names import Lane
from schemas.settings import Settings
from tests.integration.collecting import Harness, add, left
from tests.waiting import wait_for
from worker.inbox import Inbox
from worker.outcome import Dead, Done, Outcome


@pytest.fixture
def quick(settings: Settings) -> Settings:
    return settings.model_copy(update={"claim_idle_s": 0.2, "idle_poll_s": 0.1, "retry_max_s": 0.1})


@pytest.fixture
def harness(quick: Settings) -> Iterator[Harness]:
    harness = Harness(quick)
    yield harness
    harness.stop()


def test_what_waits_is_worked_off_and_nothing_is_left(redis_client: redis.Redis, harness: Harness) -> None:
    names = [str(n) for n in range(1000)]
    add(redis_client, harness.settings, names)
    harness.collector.start()
    wait_for(lambda: len(harness.ids()) == 1000)
    assert harness.stop()
    assert sorted(names) == sorted(harness.ids())
    assert (0, 0) == left(redis_client, harness.settings)
    assert max(len(batch) for batch in harness.batches) <= harness.settings.batch_entries


def test_a_single_entry_does_not_wait_for_others(redis_client: redis.Redis, harness: Harness) -> None:
    harness.collector.start()
    add(redis_client, harness.settings, ["alone"])
    wait_for(lambda: harness.ids() == ["alone"])


def test_nothing_is_read_while_no_slot_is_free(redis_client: Any, harness: Harness) -> None:
    # Given both slots busy
    release = threading.Event()
    harness.in_model = lambda entries: release.wait(20) and None
    add(redis_client, harness.settings, ["a"])
    harness.collector.start()
    wait_for(lambda: len(harness.batches) == 1)
    add(redis_client, harness.settings, ["b"])
    wait_for(lambda: len(harness.batches) == 2)
    # When more comes
    add(redis_client, harness.settings, ["c", "d"])
    time.sleep(0.3)
    # Then it stays unread in the stream, free for other workers
    assert (4, 2) == left(redis_client, harness.settings)
    release.set()
    wait_for(lambda: len(harness.ids()) == 4)


def test_what_waits_is_shared_out_among_the_slots(redis_client: Any, quick: Settings) -> None:
    # Given thirty entries and three slots
    harness = Harness(quick, slots=3, worth_a_slot=4)
    names = [f"burst-{n:02}" for n in range(30)]
    add(redis_client, quick, names)
    # When they are worked off
    harness.collector.start()
    wait_for(lambda: len(harness.ids()) == 30)
    assert harness.stop()
    # Then every slot took a third of it
    assert [10, 10, 10] == [len(batch) for batch in sorted(harness.batches, key=lambda batch: batch[0].fields[b"id"])]
    assert names == sorted(harness.ids())


def test_a_burst_of_unknown_length_is_worked_off(redis_client: Any, quick: Settings) -> None:
    # Given an inbox of which a caller has taken an entry back
    harness = Harness(quick)
    add(redis_client, quick, [f"taken-{n}" for n in range(9)])
    ids = [entry_id for entry_id, _ in redis_client.xrange(quick.keys.inbox(Lane.LIVE))]
    redis_client.xdel(quick.keys.inbox(Lane.LIVE), ids[4])
    assert harness.inbox.waiting(Lane.LIVE) is None
    # When it is worked off, then nothing is left
    harness.collector.start()
    wait_for(lambda: len(harness.ids()) == 8)
    assert harness.stop()
    assert (0, 0) == left(redis_client, quick)


def test_live_is_taken_before_bulk_and_bulk_gets_its_share(redis_client: redis.Redis, quick: Settings) -> None:
    # Given both inboxes full, one slot, batches of ten
    settings = quick.model_copy(update={"batch_entries": 10, "bulk_share": 0.1})
    harness = Harness(settings, slots=1)
    add(redis_client, settings, [f"b{n}" for n in range(30)], Lane.BULK)
    add(redis_client, settings, [f"l{n}" for n in range(200)])
    # When all is worked off
    harness.collector.start()
    wait_for(lambda: len(harness.ids()) == 230)
    harness.stop()
    # Then the first nine batches were live, the tenth bulk, and so on
    lanes = [batch[0].lane for batch in harness.batches]
    assert [Lane.LIVE] * 9 + [Lane.BULK] + [Lane.LIVE] * 9 + [Lane.BULK] == lanes[:20]


def test_while_postgres_is_away_the_slot_keeps_what_it_has_and_goes_on_after(
    redis_client: Any, harness: Harness
) -> None:
    # Given a database that is away for a while
    back = threading.Event()

    def write(outcomes: Sequence[Outcome]) -> None:
        if not back.is_set():
            raise DatabaseUnavailableError("away")

    harness.before_write = write
    add(redis_client, harness.settings, ["a", "b"])
    harness.collector.start()
    wait_for(lambda: len(harness.batches) == 1)
    time.sleep(0.3)
    assert (2, 2) == left(redis_client, harness.settings)
    # When it comes back
    back.set()
    # Then the rows are written, from the one time that the model ran
    wait_for(lambda: left(redis_client, harness.settings) == (0, 0))
    assert ["a", "b"] == harness.ids()


def test_stopping_while_postgres_is_away_gives_everything_back_at_once(
    redis_client: Any, harness: Harness, quick: Settings
) -> None:
    # Given a slot that waits for the database
    def away(outcomes: Sequence[Outcome]) -> None:
        raise DatabaseUnavailableError("away")

    harness.before_write = away
    add(redis_client, harness.settings, ["a", "b"])
    harness.collector.start()
    wait_for(lambda: len(harness.batches) == 1)
    # When the worker is stopped
    assert harness.stop()
    # Then another worker has them at once, and no delivery was counted
    other = Inbox(redis_client, quick.keys, "other")
    stale = other.stale(Lane.LIVE, 3600, 10)
    assert [1, 1] == [entry.deliveries for entry in other.claim(Lane.LIVE, stale, 3600)]


def test_draining_finishes_what_runs_and_leaves_the_rest_unread(redis_client: Any, quick: Settings) -> None:
    settings = quick.model_copy(update={"batch_entries": 10})
    harness = Harness(settings, slots=1)
    harness.in_model = lambda entries: time.sleep(0.2)
    add(redis_client, settings, [str(n) for n in range(100)])
    harness.collector.start()
    wait_for(lambda: len(harness.batches) >= 2)
    assert harness.stop()
    done = len(harness.ids())
    assert 0 < done < 100
    assert (100 - done, 0) == left(redis_client, settings)


def test_what_a_dead_worker_left_is_done_by_another(redis_client: Any, harness: Harness, quick: Settings) -> None:
    add(redis_client, quick, ["a", "b"])
    dead = Inbox(redis_client, quick.keys, "dead")
    dead.ensure_groups()
    assert 2 == len(dead.read(Lane.LIVE, 10))
    harness.collector.start()
    wait_for(lambda: left(redis_client, quick) == (0, 0))
    assert ["a", "b"] == sorted(harness.ids())


def test_an_entry_that_ends_its_workers_is_found_and_its_neighbours_are_spared(
    redis_client: Any, quick: Settings
) -> None:
    # Given one entry among ten that kills whatever process works on it
    add(redis_client, quick, [f"good{n}" for n in range(9)])
    add(redis_client, quick, ["bad"])
    done: list[Outcome] = []
    # When worker after worker takes it, dies at it, and leaves what it held
    for life in range(20):
        harness = Harness(quick, slots=2, consumer=f"life{life}")
        died = threading.Event()

        def die(entries: Sequence[RawEntry], harness: Harness = harness, died: threading.Event = died) -> None:
            if any(entry.fields[b"id"] == b"bad" for entry in entries):
                died.set()
                harness.stopping.set()
                raise KeyboardInterrupt  # what ends a thread without anything being settled

        harness.in_model = die
        harness.collector.start()
        wait_for(lambda died=died: died.is_set() or left(redis_client, quick) == (0, 0))
        harness.stop()
        done += harness.written
        if left(redis_client, quick) == (0, 0):
            break
    # Then the neighbours are done, each once, and the culprit is a dead letter that says why
    assert [f"good{n}" for n in range(9)] == sorted(o.entry.id for o in done if isinstance(o, Done))
    assert [(Code.POISON, ("default", "bad"))] == [(o.code, o.identity) for o in done if isinstance(o, Dead)]
    assert 2 * quick.poison_after == life


def test_a_row_that_postgres_refuses_fails_alone(redis_client: Any, harness: Harness) -> None:
    def refuse(outcomes: Sequence[Outcome]) -> None:
        if any(isinstance(outcome, Done) and outcome.entry.id == "bad" for outcome in outcomes):
            raise RowRefusedError("value out of range")

    harness.before_write = refuse
    add(redis_client, harness.settings, ["a", "b", "bad", "c", "d"])
    harness.collector.start()
    wait_for(lambda: left(redis_client, harness.settings) == (0, 0))
    assert ["a", "b", "c", "d"] == sorted(harness.ids())
    assert [Code.ROW_REFUSED] == [outcome.code for outcome in harness.written if isinstance(outcome, Dead)]


def test_a_batch_of_long_texts_is_written_in_parts(redis_client: Any, quick: Settings) -> None:
    settings = quick.model_copy(update={"batch_chars": 1000})
    harness = Harness(settings, slots=1)
    for n in range(10):
        redis_client.xadd(settings.keys.inbox(Lane.LIVE), {"id": str(n), "text": "长" * 400})
    harness.collector.start()
    wait_for(lambda: len(harness.ids()) == 10)
    harness.stop()
    assert [2, 2, 2, 2, 2] == [len(batch) for batch in harness.batches]


def test_what_others_have_settled_meanwhile_is_not_written(redis_client: Any, quick: Settings) -> None:
    # Given a worker that stands still with two entries in hand
    harness = Harness(quick, slots=1)
    begun, go_on = threading.Event(), threading.Event()

    def stand_still(entries: Sequence[RawEntry]) -> None:
        begun.set()
        assert go_on.wait(20)

    harness.in_model = stand_still
    add(redis_client, quick, ["a", "b"])
    harness.collector.start()
    assert begun.wait(20)
    # When another claims one of them after claim_idle_s, and settles it; its item may be erased after that
    other = Inbox(redis_client, quick.keys, "other")
    wait_for(lambda: len(other.stale(Lane.LIVE, quick.claim_idle_s, 10)) == 2)
    other.settle(other.claim(Lane.LIVE, other.stale(Lane.LIVE, quick.claim_idle_s, 10)[:1], 0), [], quick)
    go_on.set()
    # Then the worker writes the other one alone
    wait_for(lambda: left(redis_client, quick) == (0, 0))
    assert harness.stop()
    assert ["b"] == harness.ids()
    assert [] == harness.held.entries()
