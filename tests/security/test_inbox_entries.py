"""Entries that somebody with access to Redis has made as large as Redis takes them."""

from __future__ import annotations

import pytest
import redis
from sqlalchemy import Engine, text

from schemas.errors import EntryError
from schemas.messages import RawEntry, decode
from schemas.names import Keys, Lane
from schemas.raw import MOST_RAW_BYTES, raw_from_json, raw_to_json
from schemas.settings import Settings
from tests.acceptance.conftest import Place
from worker.inbox import READ_BYTES, Inbox, connect

_MB = 1_000_000


def test_a_read_brings_only_so_many_bytes(settings: Settings, redis_client: redis.Redis) -> None:
    # Given 40 entries of a megabyte
    inbox = Inbox(connect(settings), settings.keys, "first")
    inbox.ensure_groups()
    for number in range(40):
        redis_client.xadd(settings.keys.inbox(Lane.LIVE), {"id": str(number), "text": b"x" * _MB})
    # When they are read a batch at a time, the first time not knowing what comes
    reads = [inbox.read(Lane.LIVE, 256) for _ in range(3)]
    # Then no more are taken than READ_BYTES hold, and far fewer than a batch the first time
    assert 32 >= len(reads[0])
    assert 0 < len(reads[1]) * _MB <= READ_BYTES
    # When small ones follow, then batches grow again
    pipe = redis_client.pipeline(transaction=False)
    for number in range(1_000):
        pipe.xadd(settings.keys.inbox(Lane.LIVE), {"id": f"small-{number}", "text": "好"})
    pipe.execute()
    assert 256 == max(len(inbox.read(Lane.LIVE, 256)) for _ in range(8))


def test_what_a_dead_worker_left_is_claimed_no_faster(settings: Settings, redis_client: redis.Redis) -> None:
    # Given 40 entries of a megabyte that a worker took and died of
    dead, living = (Inbox(connect(settings), settings.keys, name) for name in ("dead", "living"))
    dead.ensure_groups()
    for number in range(40):
        redis_client.xadd(settings.keys.inbox(Lane.LIVE), {"id": str(number), "text": b"x" * _MB})
    left = [entry for _ in range(8) for entry in dead.read(Lane.LIVE, 256)]
    assert 40 == len(left)
    # When another claims them all, then it gets them part by part
    sizes = []
    while stale := [each for each in living.stale(Lane.LIVE, 0.0, 256) if each.deliveries == 1]:
        sizes.append(len(living.claim(Lane.LIVE, stale, 0.0)))
    assert 40 == sum(sizes)
    assert 32 >= sizes[0]
    assert all(size * _MB <= READ_BYTES for size in sizes[1:])


@pytest.mark.parametrize(
    "fields",
    [
        {b"id": b"42", b"text": b"x" * 5 * _MB},
        {b"id": b"42", b"text": b"good", b"x" * 5 * _MB: b"1"},
        {b"id": b"42", b"text": b"good", **{b"%d" % number: b"x" * 100 for number in range(50_000)}},
    ],
    ids=["value", "name", "fields"],
)
def test_a_dead_letter_keeps_what_can_be_looked_at_and_never_takes_a_part_for_the_whole(
    fields: dict[bytes, bytes],
) -> None:
    # Given an entry far over every bound
    kept = raw_from_json(raw_to_json(fields))
    # Then only a part of it is kept, by which it can be told
    assert sum(len(name) + len(value) for name, value in kept.items()) <= MOST_RAW_BYTES
    assert b"42" == kept[b"id"]
    # When the letter is sent back, then that part is refused as the whole was
    with pytest.raises(EntryError, match="is not UTF-8"):
        decode(RawEntry(Lane.LIVE, "1-1", kept), Keys())


def test_neighbours_of_a_giant_get_their_results(place: Place, engine: Engine) -> None:
    # Given entries too large or too deep for anything, and one that names a file, among good ones
    giant = {"id": "giant", "text": "x" * 6 * _MB}
    deep = {"id": "deep", "text": "好", "meta": "[" * 100_000}
    wide = {"id": "wide", "text": "好", "labels": "[" + "1," * _MB}
    path = {"id": "path", "text": "好", "model": "../../etc/passwd"}
    place.add([{"id": "before", "text": "很好"}, giant, deep, wide, path, {"id": "after", "text": "太慢"}])
    # When a worker comes
    place.workers.start(FENLIU_SLOTS="1")
    place.wait_until_empty()
    # Then good ones have results, the others dead letters that say why
    with engine.connect() as connection:
        states = dict(map(tuple, connection.execute(text("SELECT item_id, state FROM items"))))
        codes = dict(map(tuple, connection.execute(text("SELECT item_id, code FROM dead_letters"))))
        largest = connection.execute(text("SELECT max(length(raw::text)) FROM dead_letters")).scalar_one()
    assert {
        "before": "done",
        "giant": "dead",
        "after": "done",
        "deep": "dead",
        "wide": "dead",
        "path": "dead",
    } == states
    assert {"giant": "too_long", "deep": "too_long", "wide": "too_long", "path": "unknown_model"} == codes
    assert largest < 2 * MOST_RAW_BYTES
