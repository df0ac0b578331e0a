"""Collector and slot against a real Redis: who gets what, when, and what is left when things break."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest
import redis

from schemas.errors import Code, DatabaseUnavailableError, RowRefusedError
from schemas.messages import RawEntry, decode
from schemas.names import GROUP, Lane, ReplyStatus
from schemas.settings import Settings
from worker.collector import Collector
from worker.draft import Draft, Work
from worker.held import Held
from worker.inbox import Inbox, connect
from worker.outcome import Dead, Done, Outcome
from worker.pace import Pace
from worker.share import Share
from worker.slot import Slot


class Harness:
    """A collector on a thread pool of its own, with a model and a table made of Python lists."""

    def __init__(self, settings: Settings, slots: int = 2, consumer: str = "first", pace: Pace | None = None) -> None:
        self.settings = settings
        self.batches: list[list[RawEntry]] = []
        self.written: list[Outcome] = []
        self.before_write: Callable[[Sequence[Outcome]], None] = lambda outcomes: None
        self.in_model: Callable[[Sequence[RawEntry]], None] = lambda entries: None
        self.stopping = threading.Event()
        self.held = Held()
        self.client = connect(settings, read_block_s=1)
        self.inbox = Inbox(self.client, settings.keys, consumer)
        self.inbox.ensure_groups()
        self._pool = ThreadPoolExecutor(slots)
        self._lock = threading.Lock()
        share = Share(settings.bulk_share, settings.batch_entries)
        slot = Slot(
            inbox=self.inbox,
            held=self.held,
            classify=self,
            write=self._write,
            pace=pace or Pace(1e9),
            share=share,
            settings=settings,
            stopping=self.stopping,
            on_settled=lambda items: None,
        )
        self.collector = Collector(
            inbox=self.inbox,
            held=self.held,
            slots=slots,
            submit=self._submit,
            work=slot.work,
            share=share,
            settings=settings,
            stopping=self.stopping,
        )

    def _submit(self, run: Callable[[], None]) -> None:
        self._pool.submit(run)

    def read(self, entries: Sequence[RawEntry]) -> list[Draft]:
        """Every entry counts for one token."""
        return [Draft(entry, decode(entry, self.settings.keys), Work(), 1.0) for entry in entries]

    def classify(self, drafts: Sequence[Draft], now: datetime) -> list[Outcome]:
        """Finds nothing in any of them."""
        entries = [draft.raw for draft in drafts]
        with self._lock:
            self.batches.append(list(entries))
        self.in_model(entries)
        return [Done(decode(entry, self.settings.keys), ()) for entry in entries]

    def _write(self, outcomes: Sequence[Outcome], received_at: datetime) -> list[ReplyStatus]:
        self.before_write(outcomes)
        with self._lock:
            self.written.extend(outcomes)
        return [ReplyStatus.DEAD if isinstance(outcome, Dead) else ReplyStatus.OK for outcome in outcomes]

    def ids(self) -> list[str]:
        """Ids of the items written, in order."""
        with self._lock:
            return [outcome.entry.id for outcome in self.written if isinstance(outcome, Done)]

    def stop(self) -> bool:
        """Stop as the worker does; whether all slots came free."""
        self.stopping.set()
        if self.collector.is_alive():
            self.collector.join(10)
        drained = self.collector.drained(10)
        self._pool.shutdown()
        return drained


@pytest.fixture
def quick(settings: Settings) -> Settings:
    return settings.model_copy(update={"claim_idle_s": 0.2, "idle_poll_s": 0.1, "retry_max_s": 0.1})


@pytest.fixture
def harness(quick: Settings) -> Iterator[Harness]:
    harness = Harness(quick)
    yield harness
    harness.stop()


def _add(client: Any, settings: Settings, names: Sequence[str], lane: Lane = Lane.LIVE, **fields: str) -> None:
    for name in names:
        client.xadd(settings.keys.inbox(lane), {"id": name, "text": "好", **fields})


def _wait_for(condition: Callable[[], bool], limit_s: float = 20) -> None:
    until = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < until, "what should have happened did not"
        time.sleep(0.01)


def _left(client: Any, settings: Settings) -> tuple[int, int]:
    """Entries in both inboxes, and how many of them are pending."""
    keys = settings.keys.inboxes.values()
    return sum(client.xlen(key) for key in keys), sum(client.xpending(key, GROUP)["pending"] for key in keys)


def test_what_waits_is_worked_off_and_nothing_is_left(redis_client: redis.Redis, harness: Harness) -> None:
    names = [str(n) for n in range(1000)]
    _add(redis_client, harness.settings, names)
    harness.collector.start()
    _wait_for(lambda: len(harness.ids()) == 1000)
    assert harness.stop()
    assert sorted(names) == sorted(harness.ids())
    assert (0, 0) == _left(redis_client, harness.settings)
    assert max(len(batch) for batch in harness.batches) <= harness.settings.batch_entries


def test_a_single_entry_does_not_wait_for_others(redis_client: redis.Redis, harness: Harness) -> None:
    harness.collector.start()
    _add(redis_client, harness.settings, ["alone"])
    _wait_for(lambda: harness.ids() == ["alone"])


def test_nothing_is_read_while_no_slot_is_free(redis_client: Any, harness: Harness) -> None:
    # Given both slots busy
    release = threading.Event()
    harness.in_model = lambda entries: release.wait(20) and None
    _add(redis_client, harness.settings, ["a"])
    harness.collector.start()
    _wait_for(lambda: len(harness.batches) == 1)
    _add(redis_client, harness.settings, ["b"])
    _wait_for(lambda: len(harness.batches) == 2)
    # When more comes
    _add(redis_client, harness.settings, ["c", "d"])
    time.sleep(0.3)
    # Then it stays unread in the stream, free for other workers
    assert (4, 2) == _left(redis_client, harness.settings)
    release.set()
    _wait_for(lambda: len(harness.ids()) == 4)


def test_live_is_taken_before_bulk_and_bulk_gets_its_share(redis_client: redis.Redis, quick: Settings) -> None:
    # Given both inboxes full, one slot, batches of ten
    settings = quick.model_copy(update={"batch_entries": 10, "bulk_share": 0.1})
    harness = Harness(settings, slots=1)
    _add(redis_client, settings, [f"b{n}" for n in range(30)], Lane.BULK)
    _add(redis_client, settings, [f"l{n}" for n in range(200)])
    # When all is worked off
    harness.collector.start()
    _wait_for(lambda: len(harness.ids()) == 230)
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
    _add(redis_client, harness.settings, ["a", "b"])
    harness.collector.start()
    _wait_for(lambda: len(harness.batches) == 1)
    time.sleep(0.3)
    assert (2, 2) == _left(redis_client, harness.settings)
    # When it comes back
    back.set()
    # Then the rows are written, from the one time that the model ran
    _wait_for(lambda: _left(redis_client, harness.settings) == (0, 0))
    assert ["a", "b"] == harness.ids()


def test_stopping_while_postgres_is_away_gives_everything_back_at_once(
    redis_client: Any, harness: Harness, quick: Settings
) -> None:
    # Given a slot that waits for the database
    def away(outcomes: Sequence[Outcome]) -> None:
        raise DatabaseUnavailableError("away")

    harness.before_write = away
    _add(redis_client, harness.settings, ["a", "b"])
    harness.collector.start()
    _wait_for(lambda: len(harness.batches) == 1)
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
    _add(redis_client, settings, [str(n) for n in range(100)])
    harness.collector.start()
    _wait_for(lambda: len(harness.batches) >= 2)
    assert harness.stop()
    done = len(harness.ids())
    assert 0 < done < 100
    assert (100 - done, 0) == _left(redis_client, settings)


def test_what_a_dead_worker_left_is_done_by_another(redis_client: Any, harness: Harness, quick: Settings) -> None:
    _add(redis_client, quick, ["a", "b"])
    dead = Inbox(redis_client, quick.keys, "dead")
    dead.ensure_groups()
    assert 2 == len(dead.read(Lane.LIVE, 10))
    harness.collector.start()
    _wait_for(lambda: _left(redis_client, quick) == (0, 0))
    assert ["a", "b"] == sorted(harness.ids())


def test_an_entry_that_ends_its_workers_is_found_and_its_neighbours_are_spared(
    redis_client: Any, quick: Settings
) -> None:
    # Given one entry among ten that kills whatever process works on it
    _add(redis_client, quick, [f"good{n}" for n in range(9)])
    _add(redis_client, quick, ["bad"])
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
        _wait_for(lambda died=died: died.is_set() or _left(redis_client, quick) == (0, 0))
        harness.stop()
        done += harness.written
        if _left(redis_client, quick) == (0, 0):
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
    _add(redis_client, harness.settings, ["a", "b", "bad", "c", "d"])
    harness.collector.start()
    _wait_for(lambda: _left(redis_client, harness.settings) == (0, 0))
    assert ["a", "b", "c", "d"] == sorted(harness.ids())
    assert [Code.ROW_REFUSED] == [outcome.code for outcome in harness.written if isinstance(outcome, Dead)]


def test_a_batch_of_long_texts_is_written_in_parts(redis_client: Any, quick: Settings) -> None:
    settings = quick.model_copy(update={"batch_chars": 1000})
    harness = Harness(settings, slots=1)
    for n in range(10):
        redis_client.xadd(settings.keys.inbox(Lane.LIVE), {"id": str(n), "text": "长" * 400})
    harness.collector.start()
    _wait_for(lambda: len(harness.ids()) == 10)
    harness.stop()
    assert [2, 2, 2, 2, 2] == [len(batch) for batch in harness.batches]
