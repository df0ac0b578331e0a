"""What a backfill enqueues from every origin, what it passes over, and what it reports."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, text

from producers.backfill.options import Options
from producers.backfill.queries import QueryFeed, shown_url
from producers.backfill.stopping import StoppedError
from schemas.errors import BackfillError, DatabaseUnavailableError, SetupError, SourceError
from schemas.names import BackfillState, Lane
from schemas.settings import Settings
from tests.integration.backfills import bulk, go_on, ids, pour, work_off, worker

ROWS = [(number, f"第{number}条", number % 5) for number in range(2_500)]
EVERY_ID = [str(number) for number, _, _ in ROWS]


def a_csv() -> bytes:
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([("id", "text", "stars"), *ROWS])
    return buffer.getvalue().encode()


def a_parquet() -> bytes:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    buffer = io.BytesIO()
    names = ("id", "text", "stars")
    columns = dict(zip(names, map(list, zip(*ROWS, strict=True)), strict=True))
    parquet.write_table(pyarrow.table(columns), buffer, row_group_size=700)
    return buffer.getvalue()


def some_jsonl() -> bytes:
    return "".join(json.dumps({"id": i, "text": t, "stars": s}) + "\n" for i, t, s in ROWS).encode()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("CREATE TABLE comments (id integer PRIMARY KEY, text text, stars integer)")
        connection.executemany("INSERT INTO comments VALUES (?, ?, ?)", ROWS)
    connection.close()
    return f"sqlite:///{tmp_path / 'shop.db'}"


# --- origins ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", a_csv),
        ("a.csv.gz", lambda: gzip.compress(a_csv())),
        ("a.jsonl", some_jsonl),
        ("a.parquet", a_parquet),
        ("a.parquet.gz", lambda: gzip.compress(a_parquet())),
    ],
)
def test_every_row_of_a_file_is_enqueued_once(
    name: str, content: Any, settings: Settings, engine: Engine, redis_client: redis.Redis, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content())
    before = datetime.now(UTC)
    record = pour(settings, engine, str(path), source="shop", kind="ticket", meta_columns=("stars",))
    entries = bulk(redis_client, settings)
    assert EVERY_ID == ids(entries)
    assert "第7条" == entries[7]["text"]
    assert {("shop", "ticket")} == {(entry["source"], entry["kind"]) for entry in entries}
    assert "2" in (entries[7].get("stars") or entries[7]["meta"])
    # It was read now, and all of it at one time.
    (read_at,) = {entry["updated_at"] for entry in entries}
    assert before <= datetime.fromisoformat(read_at) <= datetime.now(UTC)
    assert (BackfillState.DRAINING, 2_500, 2_500) == (record.state, record.progress.read, record.progress.enqueued)
    # The table knows where the entries are.
    found: Any = redis_client.xrange(settings.keys.inbox(Lane.BULK))
    bounds = found[0][0].decode(), found[-1][0].decode()
    assert bounds == (record.progress.first, record.progress.last)


def test_a_sqlite_query_is_read_in_the_order_of_its_key(
    settings: Settings, engine: Engine, redis_client: redis.Redis, sqlite_url: str
) -> None:
    query = "SELECT id AS no, text AS body, 'a:b' AS mark FROM comments WHERE text LIKE '%1%' -- all;"
    pour(
        settings, engine, shown_url(sqlite_url), url=sqlite_url, query=query, key="no", id_column="no",
        text_column="body", meta_columns=("mark",),
    )  # fmt: skip
    entries = bulk(redis_client, settings)
    assert [str(number) for number in range(2_500) if "1" in str(number)] == ids(entries)
    assert {"a:b"} == {entry["mark"] for entry in entries}


def test_a_postgres_query_is_read_through_a_cursor_and_goes_on_after_its_key(
    settings: Settings, engine: Engine, redis_client: redis.Redis
) -> None:
    # Given a table whose key is text, and a URL with a password
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE shop AS SELECT 'k' || n AS k, 'a' AS text FROM generate_series(1, 2500) n")
        )
    joint = "&" if "?" in settings.database_url else "?"
    url = f"{settings.database_url}{joint}password=geheim"
    how = {"query": "SELECT k, text, k::text AS note FROM shop", "key": "k", "id_column": "k"}
    first = pour(settings, engine, shown_url(url), url=url, limit=1_700, **how)
    assert 1_700 == first.progress.enqueued
    assert {"key", "type"} == set(first.progress.place)

    # when another backfill goes on where that one ended
    with engine.begin() as connection:
        connection.execute(
            text("""UPDATE backfills SET options = options - 'limit', position = position || '{"ended": false}'""")
        )
    redis_client.delete(settings.keys.backfill(first.id))
    record = go_on(settings, _get(engine, first.id), url=url)

    # then every row is there once, and the password nowhere
    entries = bulk(redis_client, settings)
    assert {f"k{number}" for number in range(1, 2_501)} == set(ids(entries))
    assert 2_500 == len(entries) == record.progress.enqueued
    assert 2 == len({entry["updated_at"] for entry in entries})  # each query has its own time of reading
    assert "geheim" not in _everything(engine)
    assert "geheim" not in str(redis_client.hgetall(settings.keys.backfill(first.id)))


def test_keys_that_the_database_takes_as_one_are_refused_before_a_row_is_passed_over(
    settings: Settings, engine: Engine, redis_client: redis.Redis, tmp_path: Path
) -> None:
    # Given keys that differ by case, in a column that does not tell cases apart
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("CREATE TABLE notes (k text COLLATE nocase, text text)")
        connection.executemany("INSERT INTO notes VALUES (?, 'x')", [("a",), ("b",), ("B",), ("c",)])
    connection.close()
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    # when a backfill goes on between the two
    more = {"query": "SELECT k, k AS id, text FROM notes", "key": "k"}
    record = pour(settings, engine, shown_url(url), url=url, limit=2, **more)
    redis_client.delete(settings.keys.backfill(record.id))
    with engine.begin() as connection:
        connection.execute(
            text("""UPDATE backfills SET options = options - 'limit', position = position || '{"ended": false}'""")
        )
    # then it says so, for `k > 'b'` would lose the other
    with pytest.raises(SourceError, match="the key k is 'b' twice: --key must be unique, as the database compares"):
        go_on(settings, _get(engine, record.id), url=url)
    assert ["a", "b"] == [entry["id"].lower() for entry in bulk(redis_client, settings)]


# A process of its own: psycopg2's way of waiting, which a backfill changes, is that of all threads.
_STOP_WHEN_IT_SLEEPS = """
import os, signal, sys, time
from sqlalchemy import create_engine, text
asleep = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()")
with create_engine(sys.argv[1], isolation_level="AUTOCOMMIT").connect() as connection:
    while not connection.execute(asleep).scalar_one():
        time.sleep(0.05)
os.kill(os.getppid(), signal.SIGTERM)
"""


def test_a_signal_ends_a_query_that_the_server_is_still_working_on(settings: Settings, engine: Engine) -> None:
    # Given a query whose first row takes a minute
    query = "SELECT 1 AS k, 'a' AS text, CAST(pg_sleep(60) AS text) AS slept"
    url = settings.database_url
    with subprocess.Popen([sys.executable, "-c", _STOP_WHEN_IT_SLEEPS, settings.sqlalchemy_url]) as stopper:
        started_s = time.monotonic()
        try:
            # when SIGTERM comes meanwhile, then it ends where it stands
            with pytest.raises(StoppedError):
                pour(settings, engine, shown_url(url), url=url, key="k", query=query)
        finally:
            stopper.kill()
    assert time.monotonic() - started_s < 40
    assert BackfillState.STOPPED is _get(engine, 1).state


def test_a_login_that_is_refused_is_not_tried_again(settings: Settings) -> None:
    url = settings.database_url.replace("://fenliu@", "://nobody-of-that-name@")
    feed = QueryFeed(Options(origin="", query="SELECT 1 AS k", key="k"), url)
    with pytest.raises(SourceError, match="nobody-of-that-name"):
        feed.total()


def test_what_a_database_says_never_holds_the_password(settings: Settings, engine: Engine) -> None:
    url = "postgresql://u:geheim@127.0.0.1:1/geheim"
    with pytest.raises(SetupError, match="no database is called"):
        pour(settings, engine, "x", url="nosql://u:geheim@h/d", query="SELECT 1", key="k")
    feed = QueryFeed(Options(origin="", query="SELECT 1 AS k", key="k"), url)
    with pytest.raises(DatabaseUnavailableError, match="refused") as caught:
        feed.total()
    assert "geheim" not in str(caught.value)
    with pytest.raises(BackfillError, match="give --url, or set SHOP_URL"):
        pour(settings, engine, shown_url(url), url_env="SHOP_URL", query="SELECT 1", key="k")
    assert ":geheim" not in _everything(engine)


@pytest.mark.parametrize(
    ("query", "key", "problem"),
    [
        ("SELECT id, text FROM comments", "no", "no such column"),
        ("SELECT stars AS k, text FROM comments", "k", "twice: --key must be unique"),
        ("SELECT id FROM comments", "id", "has no column 'text'"),
        ("SELECT FROM", "id", "syntax error"),
        ("SELECT nullif(id, 7) AS k, text FROM comments", "k", "the key k is NULL in some rows"),
    ],
)
def test_a_wrong_query_says_what_is_wrong(
    query: str, key: str, problem: str, settings: Settings, engine: Engine, sqlite_url: str
) -> None:
    with pytest.raises(SourceError, match=problem):
        pour(settings, engine, shown_url(sqlite_url), url=sqlite_url, query=query, key=key)
    record = _get(engine, 1)
    assert (BackfillState.FAILED, True) == (record.state, problem in (record.error or ""))


# --- what is passed over, and what is refused ------------------------------------------------------------------------


def test_lines_that_cannot_be_read_are_named_and_the_rest_goes_on(
    settings: Settings, engine: Engine, redis_client: redis.Redis, tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"id": 1, "text": "a"}\n{"id": 2\n{"id": 3, "text": ""}\n\xff\n{"id": 5, "text": "b"}\n')
    record = pour(settings, engine, str(path))
    work_off(redis_client, settings, engine)
    report = go_on(settings, record, wait=True).report
    assert (5, 2, 3) == (report["read"], report["enqueued"], report["refused"])
    told = {one["where"]: (one["code"], one["message"]) for one in report["refusals"]}
    assert ["line 2", "line 3", "line 4"] == list(told)
    assert "is not JSON" in told["line 2"][1]
    assert ("empty_field", "text: is empty; give 1 to 20000 characters") == told["line 3"]


def test_only_what_has_no_result_is_enqueued(
    settings: Settings, engine: Engine, redis_client: redis.Redis, tmp_path: Path
) -> None:
    # Given three comments that have their sentiment, one of them by another model too
    path = tmp_path / "a.csv"
    path.write_text("id,text\n1,好\n2,好\n3,坏\n")
    pour(settings, engine, str(path))
    work_off(redis_client, settings, engine)
    path.write_text("id,text\n2,好\n")
    pour(settings, engine, str(path), model="other/2")
    work_off(redis_client, settings, engine)
    path.write_text("id,text\n1,好\n2,好\n4,新\n3,坏\n")

    def enqueued(**more: Any) -> tuple[int, list[str]]:
        record = pour(settings, engine, str(path), only_missing=True, **more)
        found = ids(bulk(redis_client, settings))
        redis_client.delete(settings.keys.inbox(Lane.BULK))
        return record.progress.skipped, found

    # then each question passes over those that it has an answer for
    assert (3, ["4"]) == enqueued()
    assert (0, ["1", "2", "4", "3"]) == enqueued(tasks="sentiment,routing")
    assert (1, ["1", "4", "3"]) == enqueued(model="other")
    assert (1, ["1", "4", "3"]) == enqueued(model="other/2")
    assert (0, ["1", "2", "4", "3"]) == enqueued(model="other/3")
    assert (0, ["1", "2", "4", "3"]) == enqueued(source="elsewhere")


def test_fenlius_own_items_come_again_with_their_own_times(
    settings: Settings, engine: Engine, redis_client: redis.Redis, tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    when = "2026-01-01T00:00:00+00:00"
    rows = [
        {"id": "1", "text": "好", "source": "b", "kind": "ticket", "created_at": when, "updated_at": when, "stars": 3},
        {"id": "2", "text": "毒", "source": "b", "kind": "ticket"},
        {"id": "1", "text": "坏", "source": "a", "updated_at": when},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pour(settings, engine, str(path), tasks="sentiment")
    work_off(redis_client, settings, engine)

    record = pour(settings, engine, "items", model="other/2", only_missing=True)
    entries = bulk(redis_client, settings)
    assert [("a", "1", "comment"), ("b", "1", "ticket")] == [(e["source"], e["id"], e["kind"]) for e in entries]
    assert ["other/2"] * 2 == [entry["model"] for entry in entries]
    assert when == entries[1]["updated_at"] == entries[1]["created_at"]
    assert {"stars": 3} == json.loads(entries[1]["meta"])
    work_off(redis_client, settings, engine)
    report = go_on(settings, record, wait=True).report
    assert (2, 2) == (report["read"], report["done"])
    # When there is nothing left to score, nothing is.
    again = pour(settings, engine, "items", model="other/2", only_missing=True).progress
    assert (2, 2, 0) == (again.read, again.skipped, again.enqueued)
    assert 1 == pour(settings, engine, "items", kind="comment").progress.read
    assert 0 == pour(settings, engine, "items", source="nobody").progress.read


# --- times -----------------------------------------------------------------------------------------------------------


def test_a_newer_live_edit_wins_and_a_given_time_wins_over_the_read_time(
    settings: Settings, engine: Engine, redis_client: redis.Redis, tmp_path: Path
) -> None:
    # Given rows in the inbox, one of which says when it was true: long ago
    path = tmp_path / "a.csv"
    path.write_text("id,text,changed\n1,旧,\n2,旧,2020-01-01T00:00:00Z\n3,旧,\n")
    record = pour(settings, engine, str(path), updated_at_column="changed")
    assert "2020-01-01T00:00:00Z" == bulk(redis_client, settings)[1]["updated_at"]
    # and live edits that are stored before the rows are: one from after the reading, two from before it
    now = datetime.now(UTC)
    live = [("1", now + timedelta(seconds=1)), ("2", now - timedelta(hours=1)), ("3", now - timedelta(hours=1))]
    inbox = settings.keys.inbox(Lane.BULK)
    waiting: Any = redis_client.xrange(inbox)
    redis_client.delete(inbox)
    for item_id, at in live:
        redis_client.xadd(inbox, {"id": item_id, "text": "新", "updated_at": at.isoformat()})
    work_off(redis_client, settings, engine)
    # When the rows are worked off after them
    for _, fields in waiting:
        redis_client.xadd(inbox, fields)
    work_off(redis_client, settings, engine)
    # then the text that was true last stands
    with engine.connect() as connection:
        found = connection.execute(text("SELECT item_id, text FROM items ORDER BY item_id")).all()
    assert [("1", "新"), ("2", "新"), ("3", "旧")] == [tuple(row) for row in found]
    assert record.progress.enqueued == 3


# --- the report ------------------------------------------------------------------------------------------------------


def test_the_report_counts_what_became_of_every_row(settings: Settings, engine: Engine, tmp_path: Path) -> None:
    # Given good and bad, a text that breaks the model, one that came too late, and one item twice
    path = tmp_path / "a.csv"
    path.write_text("id,text\n1,好\n2,好\n3,坏\n4,毒\n5,晚\n1,好的\n6,\n7,好\n")
    with worker(settings, engine):
        other = pour(settings, engine, str(path), wait=True, source="other")
        record = pour(settings, engine, str(path), wait=True, source="shop")
    report = record.report
    assert BackfillState.DONE is record.state
    assert record.finished_at is not None
    wanted = {
        "read": 8, "enqueued": 7, "skipped": 0, "refused": 1, "done": 4, "expired": 1, "superseded": 1,
        "dead_lettered": {"model_failed": 1},
        "labels": {"sentiment": {"positive": {"count": 3, "share": 0.75}, "negative": {"count": 1, "share": 0.25}}},
    }  # fmt: skip
    assert wanted == {name: report[name] for name in wanted}
    assert report["seconds"] >= report["enqueue_s"] >= 0
    assert wanted["labels"] == other.report["labels"]


def test_nothing_to_do_is_done(settings: Settings, engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,text\n")
    record = pour(settings, engine, str(path), wait=True)
    assert (BackfillState.DONE, 0, 0) == (record.state, record.report["read"], record.report["done"])


def test_the_inbox_never_holds_more_than_its_bound(settings: Settings, engine: Engine, tmp_path: Path) -> None:
    bounded = settings.model_copy(update={"inbox_bound": 300})
    path = tmp_path / "a.csv"
    path.write_bytes(a_csv())
    with worker(bounded, engine) as lengths:
        record = pour(bounded, engine, str(path), wait=True)
    assert 2_500 == record.report["done"]
    assert 0 < max(lengths) <= 300


def _get(engine: Engine, backfill_id: int) -> Any:
    from producers.backfill import ledger

    return ledger.get(engine, backfill_id)


def _everything(engine: Engine) -> str:
    with engine.connect() as connection:
        return str(connection.execute(text("SELECT * FROM backfills")).all())
