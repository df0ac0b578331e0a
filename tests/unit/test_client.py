"""The producers' client: items to fields, validation, chunks, a full inbox, and what Redis says, on a fake Redis."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import fakeredis
import pytest
import redis
from redis.exceptions import NoPermissionError, OutOfMemoryError, ResponseError

from producers.client import CHUNK_ENTRIES, KEPT_REFUSALS, Client, Receipt, Summary
from producers.item import Item, fields_of
from schemas.errors import Code, EntryError, InboxFullError, InboxUnavailableError, SetupError
from schemas.messages import RawEntry, decode
from schemas.names import Keys, Kind, Lane, Task

LIVE, BULK = Keys().inbox(Lane.LIVE), Keys().inbox(Lane.BULK)
CHINA = timezone(timedelta(hours=8))


@pytest.fixture
def server() -> fakeredis.FakeRedis:
    return fakeredis.FakeRedis()


@pytest.fixture
def client(server: fakeredis.FakeRedis) -> Client:
    return Client(server)


def entries(server: redis.Redis, stream: str = LIVE) -> list[dict[str, str]]:
    return [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in server.xrange(stream)]


# --- items become fields ---------------------------------------------------------------------------------------------


def test_what_is_default_is_not_sent() -> None:
    assert {"id": "1", "text": "好"} == fields_of(Item("1", "好"))


def test_every_value_of_an_item_arrives_at_the_worker() -> None:
    # Given an item that says all it can
    item = Item(
        id=42, text="太慢", source="shop", kind=Kind.TICKET, tasks=[Task.ROUTING, "sentiment"], route_set="vip",
        created_at=datetime(2026, 1, 31, 8, tzinfo=CHINA), updated_at=datetime(2026, 2, 1, tzinfo=UTC),
        deadline=datetime(2026, 2, 2, 0, 0, 0, 250_000, tzinfo=UTC), reply_to="fenliu:reply:me",
        meta={"plan": "pro", "since": date(2020, 1, 2), "paid": Decimal("9.90")}, model="m/1",
        labels={"账单": "付款", "物流": {"description": "快递", "threshold": 0.4}}, template="这是{}",
        multi_label=True, store=False,
    )  # fmt: skip
    # when a worker decodes its fields
    raw = {name.encode(): value.encode() for name, value in fields_of(item).items()}
    entry = decode(RawEntry(Lane.LIVE, "1-1", raw), Keys())
    # then it finds the same
    assert ("42", "太慢", "shop", Kind.TICKET, (Task.ROUTING, Task.SENTIMENT), "vip") == (
        entry.id, entry.text, entry.source, entry.kind, entry.tasks, entry.route_set,
    )  # fmt: skip
    assert (item.created_at, item.updated_at, item.deadline) == (entry.created_at, entry.updated_at, entry.deadline)
    assert ("fenliu:reply:me", "m/1", "这是{}", True, False) == (
        entry.reply_to, entry.model, entry.template, entry.multi_label, entry.store,
    )  # fmt: skip
    assert {"plan": "pro", "since": "2020-01-02", "paid": "9.90"} == entry.meta
    assert entry.labels is not None
    assert [("账单", "付款", None), ("物流", "快递", 0.4)] == [
        (label.name, label.description, label.threshold) for label in entry.labels.labels
    ]


def test_a_mapping_may_hold_flat_text_or_values() -> None:
    flat = {"id": "1", "text": "x", "tasks": "routing", "meta": '{"a":1}', "labels": '["a"]', "store": "no"}
    values = {"id": 1, "text": "x", "tasks": ["routing"], "meta": {"a": 1}, "labels": ("a",), "store": False}
    assert flat == fields_of(flat) == fields_of(values)
    assert {"id": "1", "text": "x"} == fields_of({"id": "1", "text": "x", "kind": None, "note": None})
    assert "00000000-0000-0000-0000-000000000007" == fields_of({"id": UUID(int=7), "text": "x"})["id"]


def test_unknown_values_keep_their_types_in_meta() -> None:
    item = {"id": "1", "text": "x"}
    fields = fields_of(item | {"shop": "north", "stars": 5, "tags": ["a"], "meta": {"stars": 4, "b": 1}})
    assert "north" == fields["shop"]
    assert {"stars": 4, "b": 1, "tags": ["a"]} == json.loads(fields["meta"])
    # meta as text is joined, too, and if it is broken it stays so, for the check to name it
    assert {"b": 1, "stars": 5} == json.loads(fields_of(item | {"meta": '{"b": 1}', "stars": 5})["meta"])
    assert "{" == fields_of(item | {"meta": "{", "stars": 5})["meta"]


@pytest.mark.parametrize("number", [42.0, Decimal("42.00"), 42])
def test_a_whole_number_is_an_id_however_a_tool_writes_it(number: object) -> None:
    assert {"id": "42", "text": "好"} == fields_of({"id": number, "text": "好"})


LOOP: dict[str, Any] = {}
LOOP["self"] = LOOP


@pytest.mark.parametrize(
    ("values", "code", "field"),
    [
        ({"created_at": datetime(2026, 1, 1)}, Code.BAD_TIME, "created_at"),
        ({"updated_at": date(2026, 1, 1)}, Code.BAD_TIME, "updated_at"),
        ({"deadline": datetime.max.replace(tzinfo=timezone(timedelta(hours=-8)))}, Code.BAD_TIME, "deadline"),
        ({"deadline": "tomorrow"}, Code.BAD_TIME, "deadline"),
        ({"meta": {"a": float("nan")}}, Code.BAD_JSON, "meta"),
        ({"meta": {"a": object()}}, Code.BAD_JSON, "meta"),
        ({"meta": LOOP}, Code.BAD_JSON, "meta"),
        ({"meta": [1]}, Code.BAD_JSON, "meta"),
        ({"meta": {"a": "x" * 9000}}, Code.TOO_LONG, "meta"),
        ({"stars": float("inf")}, Code.BAD_JSON, "meta"),
        ({"labels": []}, Code.BAD_LABELS, "labels"),
        ({"labels": {"a": 1}}, Code.BAD_LABELS, "labels"),
        ({"tasks": 5}, Code.UNKNOWN_TASK, "tasks"),
        ({"tasks": ["translation"]}, Code.UNKNOWN_TASK, "tasks"),
        ({"kind": "novel"}, Code.UNKNOWN_KIND, "kind"),
        ({"text": 5.0}, Code.BAD_VALUE, "text"),
        ({"text": b"bytes"}, Code.BAD_VALUE, "text"),
        ({"id": True}, Code.BAD_VALUE, "id"),
        ({"id": 4.5}, Code.BAD_VALUE, "id"),
        ({"id": float("nan")}, Code.BAD_VALUE, "id"),
        ({"id": 2.0**53}, Code.BAD_VALUE, "id"),
        ({"id": Decimal("sNaN")}, Code.BAD_VALUE, "id"),
        ({"text": "\ud800"}, Code.NOT_UTF8, "text"),
        ({"text": " \u3000\n"}, Code.EMPTY_FIELD, "text"),
        ({"text": "x" * 20_001}, Code.TOO_LONG, "text"),
        ({"id": ""}, Code.EMPTY_FIELD, "id"),
        ({"id": "a\nb"}, Code.BAD_CHARACTER, "id"),
        ({"source": "x" * 201}, Code.TOO_LONG, "source"),
        ({"reply_to": "elsewhere"}, Code.BAD_VALUE, "reply_to"),
        ({"multi_label": "perhaps"}, Code.BAD_VALUE, "multi_label"),
        ({"template": "no place"}, Code.BAD_VALUE, "template"),
        ({5: "x"}, Code.BAD_VALUE, "5"),
    ],
)
def test_what_a_worker_would_refuse_is_not_sent(
    client: Client, server: fakeredis.FakeRedis, values: Mapping[Any, Any], code: Code, field: str
) -> None:
    item = {"id": "1", "text": "x"} | values
    [receipt] = client.enqueue_each([item])
    assert receipt.error is not None
    assert (item, None, code, field) == (receipt.item, receipt.entry_id, receipt.error.code, receipt.error.field)
    assert 0 == server.xlen(LIVE)


def test_missing_fields_are_named(client: Client) -> None:
    summary = client.enqueue_many([{"text": "x"}, {"id": "1"}])
    assert [(0, Code.MISSING_FIELD, "id"), (1, Code.MISSING_FIELD, "text")] == [
        (each.position, each.error.code, each.error.field) for each in summary.refusals
    ]


# --- one item --------------------------------------------------------------------------------------------------------


def test_one_item_is_added_to_the_inbox_that_is_meant(client: Client, server: fakeredis.FakeRedis) -> None:
    entry_id = client.enqueue("42", "物流太慢了", source="shop")
    client.enqueue("43", "好", lane=Lane.BULK, kind="ticket", meta={"plan": "pro"})
    assert [entry_id.encode()] == [each[0] for each in server.xrange(LIVE)]
    assert [{"id": "42", "text": "物流太慢了", "source": "shop"}] == entries(server)
    assert [{"id": "43", "text": "好", "kind": "ticket", "meta": '{"plan":"pro"}'}] == entries(server, BULK)


def test_a_client_may_bring_a_server_that_decodes() -> None:
    decoding = fakeredis.FakeRedis(decode_responses=True)
    entry_id = Client(decoding, prefix="other").enqueue("1", "x")
    assert [(entry_id, {"id": "1", "text": "x"})] == decoding.xrange("other:inbox:live")


def test_one_wrong_item_is_an_error(client: Client, server: fakeredis.FakeRedis) -> None:
    with pytest.raises(EntryError, match="text: is empty") as caught:
        client.enqueue("1", "")
    assert Code.EMPTY_FIELD is caught.value.code
    assert 0 == server.xlen(LIVE)


# --- many items ------------------------------------------------------------------------------------------------------


def test_the_rest_is_sent_when_some_are_refused(client: Client, server: fakeredis.FakeRedis) -> None:
    items: list[Item | Mapping[str, object]] = [Item("1", "a"), {"id": "2", "text": ""}, Item("3", "c"), {"id": "4"}]
    summary = client.enqueue_many(items)
    assert (2, 2, [1, 3]) == (summary.enqueued, summary.refused, [each.position for each in summary.refusals])
    assert ["1", "3"] == [each["id"] for each in entries(server)]


def test_receipts_come_in_order_across_chunks(client: Client, server: fakeredis.FakeRedis) -> None:
    items = [Item(str(number), "" if number % 7 == 0 else "x") for number in range(2 * CHUNK_ENTRIES + 3)]
    receipts = list(client.enqueue_each(items, lane=Lane.BULK))
    assert items == [receipt.item for receipt in receipts]
    assert [not item.text for item in items] == [receipt.entry_id is None for receipt in receipts]
    by_id = {entry_id.decode(): fields[b"id"].decode() for entry_id, fields in server.xrange(BULK)}
    assert {receipt.entry_id: receipt.item.id for receipt in receipts if receipt.entry_id} == by_id


def test_nothing_at_all_is_fine(client: Client) -> None:
    assert Summary(0, 0, ()) == client.enqueue_many([])


def test_an_endless_iterator_is_read_no_further_than_a_chunk_ahead(client: Client, server: fakeredis.FakeRedis) -> None:
    read = 0

    def endless() -> Iterator[Item]:
        nonlocal read
        for read in itertools.count(1):
            yield Item(str(read), "x")

    taken = list(itertools.islice(client.enqueue_each(endless()), CHUNK_ENTRIES + 1))
    assert CHUNK_ENTRIES + 1 == len(taken)
    assert 2 * CHUNK_ENTRIES == read == server.xlen(LIVE)


def test_only_the_first_refusals_are_kept(client: Client) -> None:
    summary = client.enqueue_many({"id": str(number), "text": ""} for number in range(3 * KEPT_REFUSALS))
    assert (3 * KEPT_REFUSALS, KEPT_REFUSALS) == (summary.refused, len(summary.refusals))


def test_large_texts_travel_in_smaller_chunks(client: Client, server: fakeredis.FakeRedis) -> None:
    receipts = client.enqueue_each(Item(str(number), "x" * 20_000) for number in range(200))
    next(receipts)
    assert server.xlen(LIVE) < 60
    assert 199 == len(list(receipts))
    assert 200 == server.xlen(LIVE)


# --- a full inbox ----------------------------------------------------------------------------------------------------


def test_a_full_inbox_refuses(server: fakeredis.FakeRedis) -> None:
    client = Client(server, inbox_bound=3)
    for number in range(3):
        client.enqueue(str(number), "x")
    with pytest.raises(InboxFullError, match="live inbox holds 3 entries and its bound is 3"):
        client.enqueue("3", "x")
    # The other inbox has room, and so has this one as soon as a worker has taken something.
    client.enqueue("3", "x", lane=Lane.BULK)
    server.xdel(LIVE, server.xrange(LIVE)[0][0])
    client.enqueue("4", "x")
    assert 3 == server.xlen(LIVE)


def test_many_stop_at_the_bound_and_tell_how_far_they_came(server: fakeredis.FakeRedis) -> None:
    client = Client(server, inbox_bound=CHUNK_ENTRIES + 10)
    items = iter([Item(str(number), "x") for number in range(2000)])
    with pytest.raises(InboxFullError) as caught:
        client.enqueue_many(items)
    assert CHUNK_ENTRIES + 10 == server.xlen(LIVE)
    assert ["510 items are in the inbox, 0 were refused; the rest was not sent"] == caught.value.__notes__
    # Only the item that met the full inbox was taken from the iterator and not sent.
    assert str(CHUNK_ENTRIES + 11) == next(items).id


def test_waiting_goes_on_as_there_is_room(server: fakeredis.FakeRedis) -> None:
    # Given a full inbox and somebody who waits for room
    client = Client(server, inbox_bound=2)
    receipts: list[Receipt] = []
    waiting = threading.Thread(
        target=lambda: receipts.extend(client.enqueue_each([Item(str(n), "x") for n in range(5)], wait_s=None))
    )
    waiting.start()
    # when a worker takes entries one by one
    taken: list[bytes] = []
    while len(taken) < 5:
        for entry_id, fields in server.xrange(LIVE):
            server.xdel(LIVE, entry_id)
            taken.append(fields[b"id"])
    waiting.join()
    # then all of them get in, in order, and never more than the bound at once
    assert [b"0", b"1", b"2", b"3", b"4"] == taken
    assert 5 == len(receipts)


def test_waiting_ends(server: fakeredis.FakeRedis) -> None:
    client = Client(server, inbox_bound=1)
    client.enqueue("1", "x")
    with pytest.raises(InboxFullError):
        client.enqueue("2", "x", wait_s=0.05)


# --- what Redis says -------------------------------------------------------------------------------------------------


class Moody(fakeredis.FakeRedis):
    """A Redis whose answers to the first XADDs of the next pipelines are given."""

    moods: list[list[Exception]]

    def pipeline(self, *args: Any, **options: Any) -> Any:
        pipeline = super().pipeline(*args, **options)
        execute, mood = pipeline.execute, self.moods.pop(0) if self.moods else []

        def answer(**how: Any) -> list[object]:
            if any(isinstance(error, redis.ConnectionError) for error in mood):
                raise mood[0]
            # Commands that fail have not been carried out.
            del pipeline.command_stack[: len(mood)]
            return [*mood, *execute(**how)]

        pipeline.execute = answer
        return pipeline


@pytest.fixture
def moody() -> Moody:
    server = Moody()
    server.moods = []
    return server


def test_entries_that_redis_did_not_take_are_sent_again_and_no_others(moody: Moody) -> None:
    moody.moods = [[OutOfMemoryError("used memory > 'maxmemory'")] * 2, [redis.ConnectionError("gone")]]
    receipts = list(Client(moody).enqueue_each([Item(str(number), "x") for number in range(4)], wait_s=None))
    assert ["2", "3", "0", "1"] == [each["id"] for each in entries(moody)]
    by_id = {entry_id.decode(): fields[b"id"].decode() for entry_id, fields in moody.xrange(LIVE)}
    assert ["0", "1", "2", "3"] == [by_id[receipt.entry_id or ""] for receipt in receipts]


@pytest.mark.parametrize(
    ("said", "raised"),
    [
        (redis.ConnectionError("gone"), InboxUnavailableError),
        (OutOfMemoryError("used memory > 'maxmemory'"), InboxUnavailableError),
        (redis.ReadOnlyError("You can't write against a read only replica."), InboxUnavailableError),
        (ResponseError("MISCONF Errors writing to the AOF file"), InboxUnavailableError),
        (NoPermissionError("this user has no permissions"), SetupError),
        (ResponseError("WRONGTYPE Operation against a key"), SetupError),
    ],
)
def test_what_redis_says_becomes_one_of_our_errors(moody: Moody, said: Exception, raised: type[Exception]) -> None:
    client = Client(moody)
    client.enqueue("1", "x")
    moody.moods = [[said]]
    with pytest.raises(raised):
        client.enqueue("2", "x")
    # Either way the client is good for the next one.
    client.enqueue("3", "x")
    assert ["1", "3"] == [each["id"] for each in entries(moody)]


def test_without_a_server_the_error_can_be_retried() -> None:
    nowhere = redis.Redis(unix_socket_path="/nowhere.sock", retry=None)
    with pytest.raises(InboxUnavailableError):
        Client(nowhere).enqueue("1", "x")


def test_a_wrong_url_says_so() -> None:
    with pytest.raises(SetupError, match="Redis URL is wrong"):
        Client("http://localhost")
