"""The inboxes against a real Redis: nothing is lost, nothing is taken twice, nothing is left behind."""

from __future__ import annotations

import time
from typing import Any

import pytest
import redis

from schemas.errors import InboxUnavailableError
from schemas.names import GROUP, Lane
from schemas.settings import Settings
from worker.inbox import Inbox, Reply, Stale, connect


@pytest.fixture
def inbox(settings: Settings, redis_client: redis.Redis) -> Inbox:
    inbox = Inbox(redis_client, settings.keys, "first")
    inbox.ensure_groups()
    return inbox


@pytest.fixture
def other(settings: Settings, redis_client: redis.Redis) -> Inbox:
    return Inbox(redis_client, settings.keys, "other")


def _add(client: Any, settings: Settings, count: int, lane: Lane = Lane.LIVE) -> list[str]:
    stream = settings.keys.inbox(lane)
    return [client.xadd(stream, {"id": f"{lane}-{n}", "text": "好"}).decode() for n in range(count)]


def _pending(client: Any, settings: Settings, lane: Lane = Lane.LIVE) -> int:
    return int(client.xpending(settings.keys.inbox(lane), GROUP)["pending"])


def test_entries_added_before_any_worker_existed_are_read(settings: Settings, redis_client: redis.Redis) -> None:
    # Given entries in a stream that no group reads yet
    ids = _add(redis_client, settings, 3)
    # When the first worker comes
    inbox = Inbox(redis_client, settings.keys, "first")
    inbox.ensure_groups()
    # Then it reads them all
    assert ids == [entry.entry_id for entry in inbox.read(Lane.LIVE, 10)]


def test_reading_takes_up_to_a_count_and_each_entry_once(
    settings: Settings, redis_client: redis.Redis, inbox: Inbox, other: Inbox
) -> None:
    ids = _add(redis_client, settings, 5)
    assert ids[:3] == [entry.entry_id for entry in inbox.read(Lane.LIVE, 3)]
    assert ids[3:] == [entry.entry_id for entry in other.read(Lane.LIVE, 3)]
    assert [] == inbox.read(Lane.LIVE, 3)


def test_waiting_wakes_for_either_inbox(settings: Settings, redis_client: redis.Redis, inbox: Inbox) -> None:
    (entry_id,) = _add(redis_client, settings, 1, Lane.BULK)
    (entry,) = inbox.wait(10, 5)
    assert (
        entry.lane,
        entry.entry_id,
        entry.fields,
    ) == (Lane.BULK, entry_id, {b"id": b"bulk-0", b"text": "好".encode()})


def test_waiting_for_nothing_ends(inbox: Inbox) -> None:
    assert [] == inbox.wait(10, 0.01)


def test_settling_replies_then_acknowledges_and_deletes(settings: Settings, redis_client: Any, inbox: Inbox) -> None:
    # Given an entry that was read
    _add(redis_client, settings, 1)
    entries = inbox.read(Lane.LIVE, 10)
    stream = settings.keys.reply_prefix + "me"
    # When it is settled with a reply
    inbox.settle(entries, [Reply(stream, {"status": "ok"})], settings)
    # Then nothing is pending, nothing is in the inbox, and the reply is there and will expire
    assert (0, 0) == (_pending(redis_client, settings), redis_client.xlen(settings.keys.inbox(Lane.LIVE)))
    assert [{b"status": b"ok"}] == [fields for _, fields in redis_client.xrange(stream)]
    assert 0 < redis_client.ttl(stream) <= settings.reply_expire_s


def test_a_reply_that_cannot_be_sent_does_not_stop_the_acknowledgement(
    settings: Settings, redis_client: Any, inbox: Inbox
) -> None:
    # Given a reply stream that is no stream
    _add(redis_client, settings, 1)
    stream = settings.keys.reply_prefix + "broken"
    redis_client.set(stream, "a string")
    # When the entry is settled
    inbox.settle(inbox.read(Lane.LIVE, 10), [Reply(stream, {"status": "ok"})], settings)
    # Then it is acknowledged all the same
    assert 0 == redis_client.xlen(settings.keys.inbox(Lane.LIVE))


def test_what_a_dead_worker_left_is_claimed_with_its_deliveries(
    settings: Settings, redis_client: redis.Redis, inbox: Inbox, other: Inbox
) -> None:
    # Given a worker that read and died
    ids = _add(redis_client, settings, 2)
    inbox.read(Lane.LIVE, 10)
    time.sleep(0.02)
    # When another looks
    stale = other.stale(Lane.LIVE, 0.01, 10)
    claimed = other.claim(Lane.LIVE, stale, 0.01)
    # Then it gets them, as their second delivery, and a third worker that saw the same gets nothing
    assert [(entry_id, 2) for entry_id in ids] == [(entry.entry_id, entry.deliveries) for entry in claimed]
    third = Inbox(redis_client, settings.keys, "third")
    assert [] == third.claim(Lane.LIVE, stale, 10)


def test_refreshed_entries_are_not_stale(
    settings: Settings, redis_client: redis.Redis, inbox: Inbox, other: Inbox
) -> None:
    _add(redis_client, settings, 1)
    entries = inbox.read(Lane.LIVE, 10)
    time.sleep(0.3)
    assert [1] == [stale.deliveries for stale in other.stale(Lane.LIVE, 0.25, 10)]
    inbox.refresh(entries)
    assert [] == other.stale(Lane.LIVE, 0.25, 10)


def test_released_entries_are_free_at_once_and_the_delivery_does_not_count(
    settings: Settings, redis_client: redis.Redis, inbox: Inbox, other: Inbox
) -> None:
    # Given entries that were read and not worked on
    _add(redis_client, settings, 2)
    # When their worker gives them back
    inbox.release(inbox.read(Lane.LIVE, 10))
    # Then another takes them at once, however long claim_idle_s is, as their first delivery
    stale = other.stale(Lane.LIVE, 3600, 10)
    assert [1, 1] == [entry.deliveries for entry in other.claim(Lane.LIVE, stale, 3600)]


def test_a_group_deleted_by_hand_is_made_again_and_no_entry_is_skipped(
    settings: Settings, redis_client: Any, inbox: Inbox
) -> None:
    # Given one entry read and one not, and a group that somebody deletes
    _add(redis_client, settings, 2)
    inbox.read(Lane.LIVE, 1)
    redis_client.xgroup_destroy(settings.keys.inbox(Lane.LIVE), GROUP)
    # When the worker reads on, then both come: the first was never acknowledged
    assert 2 == len(inbox.read(Lane.LIVE, 10))


def test_consumers_of_dead_workers_go_once_they_hold_nothing(
    settings: Settings, redis_client: Any, inbox: Inbox, other: Inbox
) -> None:
    # Given a consumer that holds an entry, and one that holds nothing
    _add(redis_client, settings, 1)
    inbox.read(Lane.LIVE, 1)
    other.read(Lane.LIVE, 1)
    time.sleep(0.02)
    # When a third sweeps
    Inbox(redis_client, settings.keys, "third").drop_dead_consumers(0.01)
    # Then only the one that holds an entry is left
    consumers = redis_client.xinfo_consumers(settings.keys.inbox(Lane.LIVE), GROUP)
    assert [b"first"] == [consumer["name"] for consumer in consumers]
    # And one that asked a moment ago is left alone
    other.read(Lane.LIVE, 1)
    Inbox(redis_client, settings.keys, "third").drop_dead_consumers(60)
    assert 2 == len(redis_client.xinfo_consumers(settings.keys.inbox(Lane.LIVE), GROUP))


def test_leaving_removes_only_oneself_and_only_empty_handed(
    settings: Settings, redis_client: Any, inbox: Inbox, other: Inbox
) -> None:
    _add(redis_client, settings, 1)
    inbox.read(Lane.LIVE, 1)
    other.read(Lane.LIVE, 1)
    inbox.leave()
    other.leave()
    consumers = redis_client.xinfo_consumers(settings.keys.inbox(Lane.LIVE), GROUP)
    assert [b"first"] == [consumer["name"] for consumer in consumers]


def test_a_redis_that_is_away_is_retryable(settings: Settings) -> None:
    away = settings.model_copy(update={"redis_url": "unix:///nowhere/redis.sock"})
    inbox = Inbox(connect(away), settings.keys, "first")
    with pytest.raises(InboxUnavailableError):
        inbox.read(Lane.LIVE, 1)


def test_what_others_settled_while_a_reader_stood_still_is_not_taken_up(
    settings: Settings, redis_client: redis.Redis, inbox: Inbox, other: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a process that is stopped while it waits for an answer, and another that settles one of what it brings
    first, second = _add(redis_client, settings, 2)
    answer, stood_still_s = redis_client.xreadgroup, [0.0]

    def late(*arguments: Any, **options: Any) -> Any:
        found: Any = answer(*arguments, **options)
        claimed = other.claim(Lane.LIVE, [Stale(first, 1)], 0.0)
        other.settle(claimed, [], settings)
        stood_still_s[0] = 60.0
        return found

    now_s = time.monotonic
    monkeypatch.setattr(redis_client, "xreadgroup", late)
    monkeypatch.setattr("worker.inbox.time.monotonic", lambda: now_s() + stood_still_s[0])
    # when it goes on, then it takes up the other one alone
    assert [second] == [entry.entry_id for entry in inbox.read(Lane.LIVE, 10)]


def test_names_of_fields_count_as_bytes_too(
    settings: Settings, redis_client: redis.Redis, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.inbox.READ_BYTES", 10_000)
    client: Any = redis_client
    for n in range(64):
        client.xadd(settings.keys.inbox(Lane.LIVE), {f"{n}".zfill(1_000): ""})
    inbox.read(Lane.LIVE, 32)
    assert 10 == len(inbox.read(Lane.LIVE, 32))
