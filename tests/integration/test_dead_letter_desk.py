"""Dead letters at the desk: paging, filters, mending, doing many at once, and what it costs when there are many."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import redis
from sqlalchemy import Connection, Engine, text
from typer.testing import CliRunner, Result

from schemas.errors import Code, DeadLetterError, EntryError, InboxFullError
from schemas.messages import RawEntry, identity_of
from schemas.names import Lane
from schemas.settings import Settings
from tests.conftest import Fenliu
from tests.integration.test_dash_plans import nodes, rows_read
from worker.cli import dead_letters as cli
from worker.desk import dead_letters as desk
from worker.desk import items, replays
from worker.desk.dead_letters import Filter, LetterState
from worker.desk.replays import Came
from worker.outcome import Dead, Outcome
from worker.sink import Sink

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
AT = b"2023-11-14T22:13:20+00:00"
BOUND = 100_000
MANY = 60_000
MOST_ROWS = 3_000


def dead(number: int, code: Code = Code.UNKNOWN_KIND, lane: Lane = Lane.LIVE, **fields: bytes) -> Dead:
    given = {b"id": b"d%d" % number, b"kind": b"?", b"text": b"x"} | {n.encode(): value for n, value in fields.items()}
    raw = RawEntry(lane, f"1700000000000-{number}", given)
    return Dead(raw, code, "kind", "kind: is '?'", identity_of(raw))


def write(engine: Engine, *outcomes: Outcome) -> list[int]:
    """Their ids."""
    Sink(engine).write(outcomes, NOW)
    return [letter.id for letter in reversed(desk.find(engine, Filter(), limit=10_000))]


def ids(page: desk.LetterPage) -> list[int]:
    return [letter.id for letter in page.letters]


def mend(
    engine: Engine, client: redis.Redis, settings: Settings, number: int, fields: Mapping[bytes, bytes],
    seen_as: str | None = None, bound: int = BOUND,
) -> str:  # fmt: skip
    return replays.mend(engine, client, settings.keys, number, fields, by="mei", inbox_bound=bound, seen_as=seen_as)


def test_pages_lead_to_every_letter_once_and_back(engine: Engine) -> None:
    numbers = write(engine, *(dead(number) for number in range(1, 26)))
    # When somebody goes on until nothing is left
    first = page = desk.page(engine, Filter(), rows=10)
    seen, pages = ids(page), [page]
    while page.older is not None:
        page = desk.page(engine, Filter(), before=page.older, rows=10)
        seen += ids(page)
        pages.append(page)
    # then he has seen all, newest first, and the way back is the same
    assert numbers[::-1] == seen
    assert [10, 10, 5] == [len(each.letters) for each in pages]
    assert first.newer is None
    back = desk.page(engine, Filter(), after=page.newer, rows=10)
    assert ids(pages[1]) == ids(back)
    assert ids(first) == ids(desk.page(engine, Filter(), after=back.newer, rows=10))
    # Going back from behind the newest ends at a full page too.
    assert ids(first) == ids(desk.page(engine, Filter(), after=numbers[-3], rows=10))


def test_each_part_of_a_filter_narrows_it(engine: Engine) -> None:
    write(
        engine,
        dead(1, text="物流太慢 100%_\\".encode()),
        dead(2, Code.BAD_JSON, source=b"app", meta=b'{"Plan": 1}'),
        dead(3, lane=Lane.BULK, text=b"\xff"),
    )

    def found(**which: object) -> list[str]:
        return sorted(letter.entry_id[-1] for letter in desk.find(engine, Filter(**which)))  # type: ignore[arg-type]

    now = datetime.now(UTC)
    assert ["1", "2", "3"] == found(field="kind", since=now - timedelta(hours=1), until=now + timedelta(hours=1))
    assert [] == found(field="text")
    assert [] == found(until=now - timedelta(hours=1))
    assert ["3"] == found(lane=Lane.BULK)
    assert ["2"] == found(item_id="d2", source="app")
    assert ["1"] == found(text="流太")
    assert ["1"] == found(text="0%_\\")
    assert [] == found(text="1_0")
    assert ["2"] == found(text="pLAN")
    assert {"unknown_kind": 1} == desk.count(engine, Filter(text="流太"))
    assert [] == found(state=LetterState.REPLAYED)


def test_a_text_is_looked_for_in_so_many_letters_at_a_time(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "MOST_SEARCHED", 10)
    write(engine, *(dead(number, text=b"find me" if number in {2, 3, 24} else b"x") for number in range(1, 31)))
    which = Filter(text="find")
    # The first page says that it is not all, and where to look further
    page = desk.page(engine, which)
    assert (["d24"], True) == ([letter.item_id for letter in page.letters], page.is_cut)
    seen = []
    while page.older is not None:
        page = desk.page(engine, which, before=page.older)
        seen += [letter.item_id for letter in page.letters]
    assert ["d3", "d2"] == seen
    assert (1, True) == (desk.counts(engine, which).total, desk.counts(engine, which).is_cut)
    # but dropping finds them all.
    assert 3 == desk.drop(engine, which)


def test_a_mended_letter_is_sent_as_it_should_have_been_and_keeps_what_it_was(
    engine: Engine, redis_client: redis.Redis, settings: Settings
) -> None:
    # Given a letter without an id, so that no item is known of it
    raw = RawEntry(Lane.BULK, "1700000000000-0", {b"text": b"secret", b"kind": b"?"})
    [number] = write(engine, Dead(raw, Code.MISSING_FIELD, "id", "id: is missing", None))
    # when somebody tries what is still wrong, then nothing happens
    with pytest.raises(EntryError, match="kind"):
        mend(engine, redis_client, settings, number, {b"text": b"secret", b"id": b"7", b"kind": b"?"})
    assert 0 == redis_client.xlen(settings.keys.inbox(Lane.BULK))
    # and when he mends it, then it goes to its inbox with the first one's time
    sent = mend(engine, redis_client, settings, number, {b"text": b"secret", b"id": b"7"})
    [(entry_id, fields)] = redis_client.xrange(settings.keys.inbox(Lane.BULK))
    assert {b"text": b"secret", b"id": b"7", b"created_at": AT, b"updated_at": AT} == fields
    letter = desk.one(engine, number)
    assert letter is not None
    assert (sent, "mei", entry_id.decode()) == (letter.replayed_as, letter.replayed_by, letter.replayed_as)
    assert {"text": "secret", "kind": "?"} == letter.raw
    # Erasing the item that it became erases the letter as well.
    items.erase(engine, redis_client, settings.keys, "default", "7")
    assert desk.one(engine, number) is None


def test_of_two_people_one_sends_a_letter(engine: Engine, redis_client: redis.Redis, settings: Settings) -> None:
    [number] = write(engine, dead(1))
    right = {b"id": b"1", b"text": b"x"}
    sent = mend(engine, redis_client, settings, number, right)
    with pytest.raises(DeadLetterError, match="mei has sent"):
        mend(engine, redis_client, settings, number, right)
    with pytest.raises(DeadLetterError, match="mei has sent"):
        replays.replay_one(engine, redis_client, settings.keys, number, by="li", inbox_bound=BOUND)
    assert 1 == redis_client.xlen(settings.keys.inbox(Lane.LIVE))
    # Who has seen that may send it again, but not while another has it in hand, nor when it is gone.
    mend(engine, redis_client, settings, number, right, seen_as=sent)
    with engine.begin() as connection:
        connection.execute(text("SELECT FROM dead_letters FOR UPDATE"))
        with pytest.raises(DeadLetterError, match="just now"):
            mend(engine, redis_client, settings, number, right)
    desk.drop(engine, Filter(ids=[number], state=LetterState.ALL))
    with pytest.raises(DeadLetterError, match="gone"):
        mend(engine, redis_client, settings, number, right)
    assert 2 == redis_client.xlen(settings.keys.inbox(Lane.LIVE))


def test_a_full_inbox_takes_no_mended_letter(engine: Engine, redis_client: redis.Redis, settings: Settings) -> None:
    [number] = write(engine, dead(1))
    with pytest.raises(InboxFullError):
        mend(engine, redis_client, settings, number, {b"id": b"1", b"text": b"x"}, bound=0)
    assert {"unknown_kind": 1} == desk.count(engine, Filter())


def test_two_replays_at_once_send_each_letter_once(
    engine: Engine, redis_client: redis.Redis, settings: Settings
) -> None:
    write(engine, *(dead(number) for number in range(1, 601)))
    begin = threading.Barrier(2)

    def send() -> None:
        begin.wait()
        list(replays.replay(engine, redis_client, settings.keys, Filter(), by="x", inbox_bound=BOUND))

    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sent = [fields[b"id"] for _, fields in redis_client.xrange(settings.keys.inbox(Lane.LIVE))]
    assert 600 == len(sent) == len(set(sent))
    assert {} == desk.count(engine, Filter())


def test_what_comes_while_many_are_done_is_left_alone(engine: Engine) -> None:
    numbers = write(engine, *(dead(number) for number in range(1, 11)))
    which = replace(Filter(), newest=desk.newest_id(engine, Filter()))
    first = desk.drop_chunk(engine, which, rows=4)
    write(engine, dead(99))
    assert numbers[3] == first.after
    second = desk.drop_chunk(engine, which, numbers[3], rows=100)
    assert (6, None) == (len(second.letters), second.after)
    assert ["d99"] == [letter.item_id for letter in desk.find(engine, Filter())]


def test_what_became_of_a_letter(engine: Engine, redis_client: redis.Redis, settings: Settings) -> None:
    def came(number: int) -> replays.Outcome:
        letter = desk.one(engine, number)
        assert letter is not None
        return replays.outcome(engine, redis_client, settings.keys, letter)

    [number] = write(engine, dead(1))
    sent = replays.replay_one(engine, redis_client, settings.keys, number, by="x", inbox_bound=BOUND)
    assert Came.WAITING == came(number).came
    # A worker refuses it again: that is a letter of its own.
    raw = RawEntry(Lane.LIVE, sent, {b"id": b"d1", b"text": b"x", b"kind": b"?"})
    [again] = write(engine, Dead(raw, Code.UNKNOWN_KIND, "kind", "kind: is '?'", ("default", "d1")))
    assert replays.Outcome(Came.DEAD, again) == came(number)
    # It was taken, and left no row.
    sent = mend(engine, redis_client, settings, again, {b"id": b"other", b"text": b"x", b"store": b"no"})
    redis_client.xdel(settings.keys.inbox(Lane.LIVE), sent)
    assert Came.NO_ROWS == came(again).came


def test_a_letter_is_mended_on_the_command_line(
    fenliu: Fenliu, engine: Engine, redis_client: redis.Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    [number] = write(engine, dead(1, deadline=b"soon"))
    for name, value in settings.model_dump(exclude_unset=True).items():
        monkeypatch.setenv(f"FENLIU_{name.upper()}", str(value))

    def edit(*arguments: str) -> Result:
        return CliRunner().invoke(cli.app, ["edit", *arguments])

    assert 2 == edit(str(number)).exit_code
    assert 2 == edit(str(number), "--unset", "nothing").exit_code
    assert isinstance(edit(str(number + 1), "--set", "kind=ticket").exception, DeadLetterError)
    refused = fenliu("dead-letters", "edit", str(number), "--set", "kind=ticket")
    assert (1, True) == (refused.returncode, "deadline" in refused.stderr)
    done = edit(str(number), "--set", "kind=ticket", "--unset", "deadline", "--json")
    [(entry_id, fields)] = redis_client.xrange(settings.keys.inbox(Lane.LIVE))
    assert {"replayed_as": entry_id.decode()} == json.loads(done.stdout)
    assert (b"ticket", False) == (fields[b"kind"], b"deadline" in fields)


def test_no_page_reads_a_whole_table(engine: Engine) -> None:
    # Given a table in which reading all would show, where one source and one code are rare
    with engine.begin() as connection:
        connection.execute(_FILL, {"many": MANY})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE dead_letters"))
    with engine.connect() as connection:
        for which in (
            Filter(), Filter(code="poison"), Filter(code="none"), Filter(source="rare"), Filter(item_id="d5"),
            Filter(state=LetterState.REPLAYED), Filter(state=LetterState.ALL), Filter(since=NOW),
        ):  # fmt: skip
            for bounds in ("TRUE", f"id < {MANY // 2}", f"id > {MANY // 2}"):
                read = _rows_read(connection, which, bounds)
                # then a page goes by an index
                assert read <= MOST_ROWS, (which, bounds)


def _rows_read(connection: Connection, which: Filter, bounds: str) -> float:
    query = desk.letters_query(which).where(text(bounds)).limit(51)
    compiled = query.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
    explain = text(f"EXPLAIN (ANALYZE, FORMAT JSON) {str(compiled).replace(':', chr(92) + ':')}")
    plan = connection.execute(explain).scalar_one()[0]["Plan"]
    return sum(rows_read(node) for node in nodes(plan) if "Relation Name" in node)


_FILL = text(
    """
    INSERT INTO dead_letters
        (lane, entry_id, source, item_id, code, field, message, raw, deliveries, created_at, replayed_at)
    SELECT 'live', n || '-0', CASE n % 2000 WHEN 7 THEN 'rare' ELSE 'shop' END, 'd' || n,
        CASE n % 3000 WHEN 8 THEN 'poison' ELSE 'missing_field' END, 'text', 'text: is missing', '{"id": "x"}', 1,
        timestamptz '2026-03-01 12:00Z' + make_interval(secs => n),
        CASE n % 1000 WHEN 0 THEN now() END
    FROM generate_series(1, :many) AS n
    """
)
