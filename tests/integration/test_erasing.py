"""Erasing one item while it is on its way: waiting, in a worker's hands, left by a dead worker, announced."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, insert

from schemas.errors import EntryHeldError
from schemas.messages import RawEntry, decode
from schemas.names import GROUP, AssignmentStatus, Lane, Stage, Task
from schemas.settings import Settings
from schemas.tables import dead_letters
from tests.integration.stored import keys_with, tables_with
from worker.desk import items as desk
from worker.desk.items import Erased
from worker.inbox import Inbox
from worker.outcome import Assignment, Done, Prediction
from worker.relay import claims
from worker.relay.streams import Streams
from worker.relay.tally import Tally
from worker.sink import Sink

SECRET = "我住在幸福路"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ENTRY: dict[Any, Any] = {"id": "7", "source": "shop", "kind": "ticket", "text": SECRET}

Erase = Callable[..., Erased]


@pytest.fixture
def erase(engine: Engine, redis_client: redis.Redis, settings: Settings) -> Erase:
    def run(**options: Any) -> Erased:
        return desk.erase(engine, redis_client, settings.keys, "shop", "7", **options)

    return run


def read(client: redis.Redis, settings: Settings, consumer: str, *, alive: bool) -> tuple[Inbox, list[RawEntry]]:
    """One consumer takes what there is; `alive`: it has a heartbeat."""
    inbox = Inbox(client, settings.keys, consumer)
    inbox.ensure_groups()
    if alive:
        client.hset(settings.keys.worker(consumer), "pid", "1")
    return inbox, inbox.read(Lane.LIVE, 10)


def write(engine: Engine, entry: RawEntry, settings: Settings) -> None:
    """What a worker does with the ticket once it knows its team."""
    prediction = Prediction(Task.ROUTING, "m", "1", "物流", 0.9, {"物流": 0.9}, Stage.ENCODER, True, 1.0, 1.0)
    decoded = decode(entry, settings.keys)
    Sink(engine).write([Done(decoded, (prediction,), Assignment("物流", AssignmentStatus.AUTO, 0.9))], NOW)


def test_what_a_worker_holds_is_waited_for_and_leaves_no_row(
    engine: Engine, redis_client: redis.Redis, settings: Settings, erase: Erase
) -> None:
    # Given an entry that a living worker has just read, and two more that wait, one in each inbox
    live, bulk = settings.keys.inbox(Lane.LIVE), settings.keys.inbox(Lane.BULK)
    redis_client.xadd(live, ENTRY)
    worker, entries = read(redis_client, settings, "w1", alive=True)
    for stream in (live, bulk):
        redis_client.xadd(stream, ENTRY)
    # When the item is erased, and the worker writes and settles only after that has begun
    told: list[int] = []

    def settle(held: int) -> None:
        told.append(held)

        def work() -> None:
            write(engine, entries[0], settings)
            worker.settle(entries, [], settings)

        threading.Timer(0.3, work).start()

    erased = erase(on_wait=settle)
    # Then it has waited, and nothing holds the text any more
    assert ([1], 2, 1) == (told, erased.entries, erased.rows["items"])
    assert [] == tables_with(engine, SECRET)
    assert [] == keys_with(redis_client, settings.keys, SECRET)


def test_rows_stay_if_the_worker_does_not_get_on(
    engine: Engine, redis_client: redis.Redis, settings: Settings, erase: Erase
) -> None:
    redis_client.xadd(settings.keys.inbox(Lane.LIVE), ENTRY)
    _, entries = read(redis_client, settings, "w1", alive=True)
    write(engine, entries[0], settings)
    with pytest.raises(EntryHeldError, match=r"has not settled 1 entries of it within 0\.3 s"):
        erase(wait_s=0.3, dead_after_s=0)
    assert ["items"] == tables_with(engine, SECRET)
    assert 1 == redis_client.xpending(settings.keys.inbox(Lane.LIVE), GROUP)["pending"]


def test_what_a_dead_worker_left_is_erased(
    engine: Engine, redis_client: redis.Redis, settings: Settings, erase: Erase
) -> None:
    # Given an entry whose worker has no heartbeat any more
    redis_client.xadd(settings.keys.inbox(Lane.LIVE), ENTRY)
    read(redis_client, settings, "w1", alive=False)
    # When it has not been idle for long, then it may still live
    with pytest.raises(EntryHeldError):
        erase(wait_s=0, dead_after_s=60)
    # When it has, then the entry is taken out
    assert 1 == erase(dead_after_s=0.1).entries
    assert [] == keys_with(redis_client, settings.keys, SECRET)
    assert 0 == redis_client.xpending(settings.keys.inbox(Lane.LIVE), GROUP)["pending"]


def test_the_streams_of_its_teams_name_it_no_more(
    engine: Engine, redis_client: redis.Redis, settings: Settings, erase: Erase
) -> None:
    # Given a ticket that the team was told of, twice, among others
    write(engine, RawEntry(Lane.LIVE, "1700000000500-0", {k.encode(): v.encode() for k, v in ENTRY.items()}), settings)
    team = settings.keys.team("物流")
    for source, item_id in (("shop", "7"), ("shop", "8"), ("app", "7"), ("shop", "7")):
        redis_client.xadd(team, {"source": source, "item_id": item_id, "team": "物流"})
    # When it is erased, then the others are left
    assert 2 == erase().announcements
    assert [(b"shop", b"8"), (b"app", b"7")] == [
        (fields[b"source"], fields[b"item_id"]) for _, fields in redis_client.xrange(team)
    ]


def test_what_the_relay_tells_just_then_is_taken_back(
    engine: Engine, redis_client: redis.Redis, settings: Settings, erase: Erase, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an announcement that the relay has read
    write(engine, RawEntry(Lane.LIVE, "1-0", {key.encode(): value.encode() for key, value in ENTRY.items()}), settings)
    with engine.begin() as connection:
        assert 1 == claims.fan_out(connection, 10)
    streams = Streams(redis_client, settings, Tally())
    add = streams._add
    erased: list[Erased] = []

    def erase_and_add(due: Sequence[claims.Due]) -> list[Any]:
        erased.append(erase())
        return add(due)

    # when its item is erased before it is added to the team's stream
    monkeypatch.setattr(streams, "_add", erase_and_add)
    with engine.connect() as connection:
        assert 1 == streams.deliver(connection)
    # then it does not stay there
    assert [1] == [each.rows["outbox"] for each in erased]
    assert [] == redis_client.xrange(settings.keys.team("物流"))


def test_dead_letters_of_any_form_go_too(
    engine: Engine, redis_client: redis.Redis, settings: Settings, erase: Erase
) -> None:
    with engine.begin() as connection:
        row = {"lane": "live", "code": "bad_json", "field": "meta", "message": "", "deliveries": 1}
        raw = {"id": "7", "source": "shop", "text": SECRET}
        connection.execute(insert(dead_letters).values(row | {"entry_id": "1-0", "raw": raw}))
    assert 1 == erase().rows["dead_letters"]
    assert [] == tables_with(engine, SECRET)
