"""What people do to rows: dead letters listed, replayed and dropped; items shown and erased."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
import redis
from sqlalchemy import Engine, insert, select

from schemas.errors import Code, InboxFullError, InboxUnavailableError
from schemas.messages import Entry, RawEntry, decode
from schemas.names import GROUP, AssignmentStatus, Kind, Lane, ReviewState, Stage, Task
from schemas.settings import Settings
from schemas.tables import assignment_events, items, metadata, reviews
from tests.conftest import Fenliu
from worker.desk import dead_letters as letters_desk
from worker.desk import items as items_desk
from worker.desk import replays
from worker.desk.dead_letters import Filter, LetterState
from worker.outcome import Assignment, Dead, Done, Outcome, Prediction
from worker.sink import Sink

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
BOUND = 100_000
NOT_REPLAYED = Filter()
BROKEN: Mapping[bytes, bytes] = {b"id": b"7", b"source": b"shop", b"text": "坏".encode(), b"meta": b"{"}


def dead(
    entry_id: str = "1700000000123-0", code: Code = Code.BAD_JSON, fields: Mapping[bytes, bytes] = BROKEN,
    identity: tuple[str, str] | None = ("shop", "7"), lane: Lane = Lane.LIVE,
) -> Dead:  # fmt: skip
    return Dead(RawEntry(lane, entry_id, fields), code, "meta", "meta: is not valid JSON", identity)


def ticket(source: str, item_id: str, text: str, settings: Settings, entry_id: str = "1700000000500-0") -> Done:
    fields = {"id": item_id, "source": source, "text": text, "kind": "ticket", "meta": '{"plan": "pro"}'}
    raw = {name.encode(): value.encode() for name, value in fields.items()}
    entry: Entry = decode(RawEntry(Lane.LIVE, entry_id, raw), settings.keys)
    predictions = tuple(
        Prediction(task, "m", "1", label, 0.9, {label: 0.9}, Stage.ENCODER, True, 1.0, 1.0)
        for task, label in ((Task.SENTIMENT, "negative"), (Task.ROUTING, "物流"))
    )
    return Done(entry, predictions, Assignment("物流", AssignmentStatus.AUTO, 0.9))


def write(engine: Engine, *outcomes: Outcome) -> None:
    Sink(engine).write(outcomes, NOW)


def replay(
    engine: Engine, client: redis.Redis, settings: Settings, which: Filter = NOT_REPLAYED, bound: int = BOUND
) -> list[str]:
    sent = replays.replay(engine, client, settings.keys, which, by="mei", inbox_bound=bound)
    return [letter.entry_id for letter in sent]


def inbox_of(client: redis.Redis, settings: Settings, lane: Lane = Lane.LIVE) -> list[dict[bytes, bytes]]:
    return [fields for _, fields in client.xrange(settings.keys.inbox(lane))]


def text_left_in(engine: Engine, needle: str) -> list[str]:
    """Tables with a row that holds `needle` anywhere."""
    with engine.connect() as connection:
        return [
            table.name
            for table in metadata.sorted_tables
            if any(needle in str(tuple(row)) for row in connection.execute(select(table)))
        ]


# --- dead letters: finding -------------------------------------------------------------------------------------------


def test_dead_letters_are_found_by_what_they_are(engine: Engine) -> None:
    write(engine, dead("1700000000001-0", Code.BAD_JSON))
    write(engine, dead("1700000000002-0", Code.BAD_TIME, identity=("app", "7")))
    write(engine, dead("1700000000003-0", Code.NOT_UTF8, {b"id": b"\xff"}, identity=None, lane=Lane.BULK))

    def found(which: Filter, limit: int = 100) -> list[str]:
        return [letter.entry_id[-3] for letter in letters_desk.find(engine, which, limit=limit)]

    assert ["3", "2", "1"] == found(Filter())
    assert ["3"] == found(Filter(), limit=1)
    assert ["2"] == found(Filter(code=Code.BAD_TIME))
    assert ["1"] == found(Filter(source="shop"))
    assert [] == found(Filter(source="shop", code=Code.BAD_TIME))
    assert [] == found(Filter(since=datetime.now(UTC) + timedelta(hours=1)))
    assert {"bad_json": 1, "bad_time": 1, "not_utf8": 1} == letters_desk.count(engine, Filter())
    ids = [letter.id for letter in letters_desk.find(engine, Filter())]
    assert ["3", "1"] == found(Filter(ids=[ids[0], ids[2]]))


# --- dead letters: replaying -----------------------------------------------------------------------------------------


def test_a_replayed_entry_has_the_same_bytes_and_the_first_ones_times(
    engine: Engine, redis_client: redis.Redis, settings: Settings
) -> None:
    # Given a dead letter with bytes that are no text, NULs, and names that look like their escapes
    fields = {b"id": b"7", b"text": b"\xff\x00\xfe", b"\xfe": b"x", b"base64:eA==": b"y", b"n\x00": b"", b"e": b""}
    write(engine, dead("1700000000123-4", Code.NOT_UTF8, fields, None, Lane.BULK))
    # when it is replayed
    assert ["1700000000123-4"] == replay(engine, redis_client, settings)
    # then its inbox holds exactly these bytes, and the times that the first entry stood for
    at = b"2023-11-14T22:13:20.123000+00:00"
    assert [fields | {b"created_at": at, b"updated_at": at}] == inbox_of(redis_client, settings, Lane.BULK)
    assert [] == inbox_of(redis_client, settings, Lane.LIVE)


def test_times_that_the_entry_had_stay(engine: Engine, redis_client: redis.Redis, settings: Settings) -> None:
    own = BROKEN | {b"updated_at": b"yesterday", b"created_at": b"2020-01-01T00:00:00Z"}
    write(engine, dead(fields=own))
    replay(engine, redis_client, settings)
    assert [own] == inbox_of(redis_client, settings)


def test_a_replayed_letter_is_marked_and_not_sent_again(
    engine: Engine, redis_client: redis.Redis, settings: Settings
) -> None:
    write(engine, dead())
    replay(engine, redis_client, settings)
    assert [] == replay(engine, redis_client, settings)
    assert [] == letters_desk.find(engine, Filter())
    [letter] = letters_desk.find(engine, Filter(state=LetterState.ALL))
    [(entry_id, _)] = redis_client.xrange(settings.keys.inbox(Lane.LIVE))
    assert (entry_id.decode(), "mei") == (letter.replayed_as, letter.replayed_by)
    assert letter.replayed_at is not None
    # Unless that is asked for.
    assert ["1700000000123-0"] == replay(engine, redis_client, settings, Filter(state=LetterState.ALL))


def test_many_are_replayed_in_order_and_only_those_meant(
    engine: Engine, redis_client: redis.Redis, settings: Settings
) -> None:
    write(
        engine,
        *(
            dead(f"17000000{number:05d}-0", Code.BAD_TIME if number % 2 else Code.BAD_JSON, {b"id": b"%d" % number})
            for number in range(500)
        ),
    )
    sent = replay(engine, redis_client, settings, Filter(code=Code.BAD_TIME))
    assert [f"17000000{number:05d}-0" for number in range(1, 500, 2)] == sent
    assert [b"%d" % number for number in range(1, 500, 2)] == [each[b"id"] for each in inbox_of(redis_client, settings)]
    assert {"bad_json": 250} == letters_desk.count(engine, Filter())


def test_a_full_inbox_takes_no_more_and_what_was_sent_stays_marked(
    engine: Engine, redis_client: redis.Redis, settings: Settings
) -> None:
    write(engine, *(dead(f"17000000{number:05d}-0") for number in range(250)))
    with pytest.raises(InboxFullError):
        replay(engine, redis_client, settings, bound=150)
    marked = 250 - sum(letters_desk.count(engine, Filter()).values())
    assert marked == redis_client.xlen(settings.keys.inbox(Lane.LIVE))
    # The rest follows once there is room, each one once.
    assert 250 - marked == len(replay(engine, redis_client, settings))
    assert 250 == redis_client.xlen(settings.keys.inbox(Lane.LIVE))


def test_without_redis_nothing_is_marked(engine: Engine, settings: Settings) -> None:
    write(engine, dead())
    nowhere = redis.Redis(unix_socket_path="/nowhere.sock", retry=None)
    with pytest.raises(InboxUnavailableError):
        replay(engine, nowhere, settings)
    assert {"bad_json": 1} == letters_desk.count(engine, Filter())


def test_a_replay_that_dies_before_it_is_marked_is_sent_again(
    engine: Engine, redis_client: redis.Redis, settings: Settings
) -> None:
    # Given a replay that ends between sending and committing
    write(engine, dead())
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE dead_letters ADD CONSTRAINT never CHECK (replayed_at IS NULL)")
    with pytest.raises(Exception, match="never"):
        replay(engine, redis_client, settings)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE dead_letters DROP CONSTRAINT never")
    # when it is run again, then the entry is there twice, with the same time, and the letter is marked
    assert 1 == len(replay(engine, redis_client, settings))
    first, second = inbox_of(redis_client, settings)
    assert first == second


def test_dropping_takes_only_those_meant(engine: Engine) -> None:
    write(engine, dead("1700000000001-0"), dead("1700000000002-0", Code.BAD_TIME))
    assert 1 == letters_desk.drop(engine, Filter(code=Code.BAD_TIME))
    assert {"bad_json": 1} == letters_desk.count(engine, Filter())


def test_dead_letters_on_the_command_line(
    fenliu: Fenliu, engine: Engine, redis_client: redis.Redis, settings: Settings
) -> None:
    write(engine, dead("1700000000001-0"), dead("1700000000002-0", Code.BAD_TIME), dead("1700000000003-0", Code.POISON))

    listed = fenliu("dead-letters", "list", "--json")
    newest = json.loads(listed.stdout.splitlines()[0])
    assert ("1700000000003-0", "poison", {"id": "7", "meta": "{", "text": "坏", "source": "shop"}) == (
        newest["entry_id"], newest["code"], newest["raw"],
    )  # fmt: skip
    assert "3 in all: 1 bad_json, 1 bad_time, 1 poison" in fenliu("dead-letters", "list").stdout
    assert "no dead letters" in fenliu("dead-letters", "list", "--since", "2099-01-01").stdout

    done = fenliu("dead-letters", "replay", "--id", str(newest["id"]), "--by", "mei", "--json")
    assert {"replayed": 1} == json.loads(done.stdout)
    assert 1 == redis_client.xlen(settings.keys.inbox(Lane.LIVE))
    assert {"dropped": 1} == json.loads(fenliu("dead-letters", "drop", "--code", "bad_time", "--json").stdout)
    assert "1 sent back" in fenliu("dead-letters", "replay", "--all").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("replay",),
        ("drop",),
        ("drop", "--all", "--code", "poison"),
        ("drop", "--code", "no_such_code"),
        ("list", "--since", "soon"),
        ("replay", "--id", "x"),
    ],
)
def test_misuse_touches_nothing(fenliu: Fenliu, engine: Engine, arguments: tuple[str, ...]) -> None:
    write(engine, dead())
    assert 2 == fenliu("dead-letters", *arguments).returncode
    assert {"bad_json": 1} == letters_desk.count(engine, Filter())


# --- items -----------------------------------------------------------------------------------------------------------


def test_an_item_is_shown_with_all_that_is_known_of_it(engine: Engine, settings: Settings) -> None:
    write(engine, ticket("shop", "7", "物流太慢", settings), dead("1700000000001-0"))
    view = items_desk.show(engine, "shop", "7")
    assert view is not None
    assert view.item is not None
    assert ("物流太慢", Kind.TICKET, {"plan": "pro"}) == (view.item["text"], view.item["kind"], view.item["meta"])
    assert {("sentiment", "negative"), ("routing", "物流")} == {(row["task"], row["label"]) for row in view.predictions}
    assert view.assignment is not None
    assert ("物流", "auto") == (view.assignment["team"], view.assignment["status"])
    assert ["bad_json"] == [row["code"] for row in view.dead_letters]


def test_nothing_is_shown_of_what_never_came(engine: Engine) -> None:
    assert items_desk.show(engine, "shop", "7") is None


def test_erasing_leaves_no_trace_of_the_text(engine: Engine, redis_client: redis.Redis, settings: Settings) -> None:
    # Given an item whose text is in every table that can hold it, and in both inboxes, waiting and pending
    secret = "我住在幸福路"
    raw = {b"id": b"7", b"source": b"shop", b"text": secret.encode(), b"meta": b"{"}
    write(
        engine,
        ticket("shop", "7", secret, settings),
        dead("1700000000001-0", fields=raw),
        dead("1700000000002-0", fields=raw | {b"kind": b"?"}, identity=None),
        ticket("shop", "8", "别人的话", settings, "1700000000501-0"),
        ticket("app", "7", "别处的话", settings, "1700000000502-0"),
    )
    identity = {"source": "shop", "item_id": "7"}
    with engine.begin() as connection:
        connection.execute(insert(assignment_events).values(**identity, who="mei", to_team="账单", why=secret))
        connection.execute(
            insert(reviews).values(
                **identity, task=Task.SENTIMENT, state=ReviewState.ACCEPTED, reviewer="li", origin=secret
            )
        )
    live, bulk = settings.keys.inbox(Lane.LIVE), settings.keys.inbox(Lane.BULK)
    redis_client.xgroup_create(live, GROUP, id="0", mkstream=True)
    for stream in (live, live, bulk):
        redis_client.xadd(stream, raw)  # type: ignore[arg-type]
        redis_client.xadd(stream, {"id": "7", "text": "默认来源"})
    redis_client.xreadgroup(GROUP, "somebody", {live: ">"}, count=1)
    # when it is erased
    erased = items_desk.erase(engine, redis_client, settings.keys, "shop", "7", dead_after_s=0)
    # then nothing holds it any more, and all else is as it was
    assert 3 == erased.entries
    assert (2, 1, 2) == (erased.rows["predictions"], erased.rows["items"], erased.rows["dead_letters"])
    assert [] == text_left_in(engine, secret)
    assert 0 == redis_client.xpending(live, GROUP)["pending"]
    assert {("默认来源".encode(), None)} == {
        (each[b"text"], each.get(b"source"))
        for lane in Lane
        for each in inbox_of(redis_client, settings, lane)
    }  # fmt: skip
    with engine.connect() as connection:
        assert {("shop", "8"), ("app", "7")} == {
            tuple(row) for row in connection.execute(select(items.c.source, items.c.item_id))
        }
    # And doing it again finds nothing.
    assert items_desk.erase(engine, redis_client, settings.keys, "shop", "7").nothing


def test_every_table_that_belongs_to_items_is_erased(
    engine: Engine, redis_client: redis.Redis, settings: Settings
) -> None:
    """A table that a later version adds must either go with its item or be named here."""
    with_identity = {table.name for table in metadata.sorted_tables if {"source", "item_id"} <= set(table.c.keys())}
    write(engine, ticket("shop", "7", "x", settings))
    assert with_identity == set(items_desk.erase(engine, redis_client, settings.keys, "shop", "7").rows)


def test_an_inbox_of_many_pages_is_searched_to_its_end(
    engine: Engine, redis_client: redis.Redis, settings: Settings
) -> None:
    pipeline = redis_client.pipeline(transaction=False)
    for number in range(2500):
        pipeline.xadd(
            settings.keys.inbox(Lane.LIVE), {"id": "7" if number % 1000 == 999 else str(-number), "text": "x"}
        )
    pipeline.xadd(settings.keys.inbox(Lane.LIVE), {"id": "7", "text": "x"})
    pipeline.execute()
    assert 3 == items_desk.erase(engine, redis_client, settings.keys, "default", "7").entries


def test_items_on_the_command_line(fenliu: Fenliu, engine: Engine, settings: Settings) -> None:
    write(engine, ticket("shop", "7", "太慢了 [bold]不要[/bold]", settings))
    shown = fenliu("items", "show", "shop", "7")
    assert 0 == shown.returncode
    assert "太慢了 [bold]不要[/bold]" in shown.stdout
    view = json.loads(fenliu("items", "show", "shop", "7", "--json").stdout)
    assert ("物流", 1700000000500) == (view["assignment"]["team"], view["item"]["entry_ms"])

    gone = json.loads(fenliu("items", "delete", "shop", "7", "--json").stdout)
    assert (1, 2, 0) == (gone["rows"]["items"], gone["rows"]["predictions"], gone["entries"])
    for command in ("show", "delete"):
        missing = fenliu("items", command, "shop", "7")
        assert (1, "error: nothing is known of item '7' of source 'shop'\n") == (missing.returncode, missing.stderr)
