"""Live before bulk while bulk is in hand, deadlines between portions, and what is left when that is cut short."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from schemas.messages import RawEntry
from schemas.names import Lane
from schemas.settings import Settings
from tests.integration.collecting import FixedPace, Harness, add, left
from tests.models import Home
from tests.waiting import wait_for
from worker.draft import Draft
from worker.inbox import Inbox, Stale
from worker.inference.classifier import Classifier
from worker.outcome import Expired, Outcome
from worker.pipeline import Pipeline
from worker.router import Router
from worker.shelf import Shelf
from worker.sink import Sink


@pytest.fixture
def quick(settings: Settings) -> Settings:
    return settings.model_copy(update={"idle_poll_s": 0.1, "retry_max_s": 0.1, "batch_entries": 10})


@pytest.fixture
def harness(quick: Settings) -> Iterator[Harness]:
    """One slot, portions of two entries, and nothing written before its part is done."""
    harness = Harness(quick, slots=1, pace=FixedPace(2), keep_s=3600)
    yield harness
    harness.stop()


def _ids(entries: Sequence[RawEntry]) -> list[str]:
    return [entry.fields[b"id"].decode() for entry in entries]


def _on_portion(harness: Harness, number: int, act: Any) -> None:
    """Do something while portion `number`, counted from 1, is in the model."""

    def in_model(entries: Sequence[RawEntry]) -> None:
        if len(harness.batches) == number:
            act()

    harness.in_model = in_model


def test_live_is_done_completely_between_two_portions_of_bulk(redis_client: Any, harness: Harness) -> None:
    # Given bulk in hand, and a live entry that comes while its first portion is in the model
    bulk = [f"b{n}" for n in range(6)]
    add(redis_client, harness.settings, bulk, Lane.BULK)
    _on_portion(harness, 1, lambda: add(redis_client, harness.settings, ["live"]))
    # When all is worked off
    harness.collector.start()
    wait_for(lambda: left(redis_client, harness.settings) == (0, 0))
    # Then the live entry was classified and written before bulk's second portion, and all of bulk in one go after
    assert [
        ("model", bulk[:2]),
        ("model", ["live"]),
        ("written", ["live"]),
        ("model", bulk[2:4]),
        ("model", bulk[4:]),
        ("written", bulk),
    ] == harness.events


def test_live_does_not_wait_for_bulk_to_be_written(redis_client: Any, harness: Harness) -> None:
    add(redis_client, harness.settings, ["b0", "b1"], Lane.BULK)
    _on_portion(harness, 1, lambda: add(redis_client, harness.settings, ["live"]))
    harness.collector.start()
    wait_for(lambda: left(redis_client, harness.settings) == (0, 0))
    assert [("written", ["live"]), ("written", ["b0", "b1"])] == harness.events[-2:]


@pytest.mark.parametrize(("bulk_share", "slots"), [(0.1, 1), (0.25, 1), (0.25, 2)])
def test_bulk_in_hand_gets_its_share_while_live_does_not_end(
    redis_client: Any, quick: Settings, bulk_share: float, slots: int
) -> None:
    # Given bulk, and live that is never empty
    settings = quick.model_copy(update={"bulk_share": bulk_share})
    harness = Harness(settings, slots=slots, pace=FixedPace(2))
    harness.in_model = lambda entries: add(redis_client, settings, ["l"] * (3 + slots * 20 - len(entries)))
    add(redis_client, settings, [f"b{n}" for n in range(1000)], Lane.BULK)
    add(redis_client, settings, ["l"] * 40)
    # When some hundred entries have been worked off
    harness.collector.start()
    wait_for(lambda: len(harness.lanes()) > 400)
    harness.stopping.set()
    lanes = harness.lanes()[:400]
    harness.stop()
    # Then bulk had its share of them, and little more; a portion on each slot is what it may be early or late
    assert pytest.approx(400 * bulk_share, abs=2 * slots + 20) == lanes.count("b")


def test_finished_bulk_is_written_while_live_goes_on(redis_client: Any, quick: Settings) -> None:
    # Given bulk with a portion finished, live that comes again and again, and no share for bulk
    settings = quick.model_copy(update={"bulk_share": 0.0})
    harness = Harness(settings, slots=1, pace=FixedPace(2), keep_s=0)
    add(redis_client, settings, [f"b{n}" for n in range(6)], Lane.BULK)

    def in_model(entries: Sequence[RawEntry]) -> None:
        if len(harness.batches) <= 5:
            add(redis_client, settings, [f"l{len(harness.batches)}"])

    harness.in_model = in_model
    # When all is worked off
    harness.collector.start()
    wait_for(lambda: left(redis_client, settings) == (0, 0))
    harness.stop()
    # Then what was finished did not wait for live's end
    written = [ids for what, ids in harness.events if what == "written"]
    assert ["b0", "b1"] in written
    assert written.index(["b0", "b1"]) < written.index(["l5"])


def test_live_that_fails_does_not_take_bulk_with_it(redis_client: Any, quick: Settings) -> None:
    # Given a live entry at which something breaks that nobody expected
    harness = Harness(quick, slots=1, pace=FixedPace(2), keep_s=3600)
    add(redis_client, quick, [f"b{n}" for n in range(6)], Lane.BULK)

    def in_model(entries: Sequence[RawEntry]) -> None:
        if len(harness.batches) == 1:
            add(redis_client, quick, ["live"])
        if _ids(entries) == ["live"]:
            raise ValueError("nobody expected this")

    harness.in_model = in_model
    # When bulk is worked off around it
    harness.collector.start()
    wait_for(lambda: len(harness.ids()) == 6)
    harness.stop()
    # Then bulk is done, once, and the live entry is left to be claimed
    assert [f"b{n}" for n in range(6)] == harness.ids()
    assert (1, 1) == left(redis_client, quick)
    assert [] == harness.held.entries()


def test_bulk_that_fails_leaves_live_done(redis_client: Any, quick: Settings) -> None:
    harness = Harness(quick, slots=1, pace=FixedPace(2), keep_s=3600)
    add(redis_client, quick, [f"b{n}" for n in range(6)], Lane.BULK)

    def in_model(entries: Sequence[RawEntry]) -> None:
        if len(harness.batches) == 1:
            add(redis_client, quick, ["live"])
        if _ids(entries) == ["b2", "b3"]:
            raise ValueError("nobody expected this")

    harness.in_model = in_model
    harness.collector.start()
    wait_for(lambda: len(harness.batches) == 3 and not harness.held.entries())
    harness.stop()
    assert ["live"] == harness.ids()
    assert (6, 6) == left(redis_client, quick)


def test_stopping_finishes_bulk_in_hand_and_begins_no_live(redis_client: Any, harness: Harness) -> None:
    # Given bulk in hand, and in its first portion both a live entry and the order to stop
    add(redis_client, harness.settings, [f"b{n}" for n in range(10)], Lane.BULK)

    def act() -> None:
        add(redis_client, harness.settings, ["live"])
        harness.stopping.set()

    _on_portion(harness, 1, act)
    harness.collector.start()
    wait_for(harness.stopping.is_set)
    assert harness.stop()
    # Then bulk is done and the live entry is unread, free for others
    assert [f"b{n}" for n in range(10)] == harness.ids()
    assert (1, 0) == left(redis_client, harness.settings)


def test_killed_between_portions_nothing_is_lost_and_nothing_done_twice(redis_client: Any, quick: Settings) -> None:
    # Given a worker that ends in its third portion, when a live entry has been done between the first two
    quick = quick.model_copy(update={"claim_idle_s": 0.2})
    first = Harness(quick, slots=1, pace=FixedPace(2), keep_s=3600)
    add(redis_client, quick, [f"b{n}" for n in range(10)], Lane.BULK)
    died = threading.Event()

    def in_model(entries: Sequence[RawEntry]) -> None:
        if len(first.batches) == 1:
            add(redis_client, quick, ["live"])
        if len(first.batches) == 4:
            first.stopping.set()
            died.set()
            raise KeyboardInterrupt  # what ends a thread without anything being settled

    first.in_model = in_model
    first.collector.start()
    assert died.wait(20)
    first.stop()
    assert ["live"] == first.ids()
    assert (10, 10) == left(redis_client, quick)
    # When another claims what it left
    second = Harness(quick, slots=1, consumer="second", pace=FixedPace(2))
    second.collector.start()
    wait_for(lambda: left(redis_client, quick) == (0, 0))
    second.stop()
    # Then bulk is done, each once
    assert [f"b{n}" for n in range(10)] == sorted(second.ids())


def test_a_suspect_is_not_kept_waiting_by_live(redis_client: Any, quick: Settings) -> None:
    # Given a bulk entry that has ended its workers, for which all slots are kept free, and live entries that wait
    quick = quick.model_copy(update={"claim_idle_s": 0.05})
    add(redis_client, quick, ["suspect"], Lane.BULK)
    dead = Inbox(redis_client, quick.keys, "dead")
    dead.ensure_groups()
    dead.read(Lane.BULK, 1)
    for _ in range(quick.poison_after - 1):
        dead.claim(Lane.BULK, dead.stale(Lane.BULK, 0, 1), 0)
    add(redis_client, quick, ["l0", "l1"])
    time.sleep(0.1)  # it has to be idle for claim_idle_s
    # When a worker starts, and more live comes as it takes the suspect
    harness = Harness(quick, slots=2, pace=FixedPace(2))
    claim = harness.collector._claim_suspect

    def claimed(lane: Lane, suspect: Stale) -> list[RawEntry]:
        add(redis_client, quick, ["l2"])
        return claim(lane, suspect)

    harness.collector._claim_suspect = claimed  # type: ignore[method-assign]
    harness.collector.start()
    wait_for(lambda: bool(harness.batches) and left(redis_client, quick) == (0, 0))
    harness.stop()
    # Then what was new goes first, since the suspect may end this worker too; but no more than that
    assert [["l0", "l1"], ["suspect"], ["l2"]] == [_ids(batch) for batch in harness.batches]


def test_a_slot_that_live_has_kept_for_long_comes_free(redis_client: Any, quick: Settings) -> None:
    # Given bulk in hand that has no share, and live after its first portion for longer than claim_idle_s
    settings = quick.model_copy(update={"claim_idle_s": 0.05, "bulk_share": 0.0})
    harness = Harness(settings, slots=1, pace=FixedPace(2), keep_s=3600)
    given_back: list[str] = []
    give_back = harness.inbox.give_back

    def noted(entries: Sequence[RawEntry]) -> None:
        given_back.extend(_ids(entries))
        give_back(entries)

    harness.inbox.give_back = noted  # type: ignore[method-assign]  # listens in
    add(redis_client, settings, [f"b{n}" for n in range(6)], Lane.BULK)

    def act() -> None:
        add(redis_client, settings, ["live"])
        time.sleep(0.1)

    _on_portion(harness, 1, act)
    # When all is worked off
    harness.collector.start()
    wait_for(lambda: left(redis_client, settings) == (0, 0))
    harness.stop()
    # Then the rest of it was given back and taken again, and that counts as no delivery
    assert ["b2", "b3", "b4", "b5"] == given_back[:4]
    assert [f"b{n}" for n in range(6)] == sorted(id_ for id_ in harness.ids() if id_ != "live")
    assert {1} == {entry.deliveries for batch in harness.batches for entry in batch}


class _Slow(Pipeline):
    """The real pipeline, whose first portion takes until a deadline has passed."""

    until: datetime
    seen: list[list[Outcome]]

    def classify(self, drafts: Sequence[Draft], now: datetime) -> list[Outcome]:
        outcomes = super().classify(drafts, now)
        self.seen.append(outcomes)
        while datetime.now(UTC) <= self.until:
            time.sleep(0.01)
        return outcomes


def test_what_expires_while_its_batch_is_in_hand_is_not_run_but_answered_and_stored_as_expired(
    redis_client: Any, quick: Settings, engine: sqlalchemy.Engine, tmp_path: Path
) -> None:
    # Given a batch whose short texts have a deadline that passes while its long ones are in the model
    home = Home(tmp_path / "models")
    home.add("tiny")
    shelf = Shelf(Classifier.load(home.path / "tiny" / "1", run_tokens=64), [home.path], run_tokens=64)
    pipeline = _Slow(shelf, Router(engine, 1.0), quick)
    pipeline.seen = []
    short_runs = quick.model_copy(update={"run_tokens": 16})
    harness = Harness(short_runs, slots=1, pace=FixedPace(2), classify=pipeline, write=Sink(engine).write)
    reply_to = f"{quick.keys.reply_prefix}deadlines"
    pipeline.until = datetime.now(UTC) + timedelta(seconds=0.5)
    for lane in Lane:
        inbox = quick.keys.inbox(lane)
        for n in range(8):
            redis_client.xadd(inbox, {"id": f"{lane}-{n}", "text": "物流太慢退款太慢", "reply_to": reply_to})
        late = {"id": f"{lane}-late", "text": "退款", "reply_to": reply_to, "deadline": pipeline.until.isoformat()}
        redis_client.xadd(inbox, late)
    # When it is worked off
    harness.collector.start()
    wait_for(lambda: left(redis_client, quick) == (0, 0))
    harness.stop()
    # Then they never reached the model, though they were in hand in time
    late_ids = {f"{lane}-late" for lane in Lane}
    assert late_ids == {o.entry.id for outcomes in pipeline.seen for o in outcomes if isinstance(o, Expired)}
    # And that is what their senders are told and what is stored
    replies = [fields for _, fields in redis_client.xrange(reply_to)]
    assert late_ids == {fields[b"id"].decode() for fields in replies if fields[b"status"] == b"expired"}
    assert 16 == sum(fields[b"status"] == b"ok" for fields in replies)
    with engine.connect() as connection:
        stored = connection.execute(sqlalchemy.text("SELECT item_id FROM items WHERE state = 'expired'")).scalars()
        assert late_ids == set(stored)
        scored = connection.execute(sqlalchemy.text("SELECT DISTINCT item_id FROM predictions")).scalars()
        assert {f"{lane}-{n}" for lane in Lane for n in range(8)} == set(scored)
