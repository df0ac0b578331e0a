"""The way of one comment, with a real worker: from XADD to rows, replies and dead letters."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest

from schemas.fields import MAX_TEXT_CHARS
from schemas.names import Lane
from tests.acceptance.conftest import Place
from tests.conftest import ROOT, environment, fenliu_command
from tests.waiting import wait_for


def _current(place: Place, item_id: str) -> dict[str, str]:
    rows = place.rows("SELECT item_id, task, label FROM predictions WHERE current")
    return {task: label for item, task, label in rows if item == item_id}


def test_an_entry_by_redis_cli_alone_becomes_a_row(place: Place) -> None:
    # Given a worker
    place.workers.start()
    # When an entry is added with nothing but id, source and text, as flat strings
    stream = place.settings.keys.inbox(Lane.LIVE)
    place.client.execute_command("XADD", stream, "*", "id", "42", "source", "shop", "text", "物流太慢了，再也不买了")
    # Then its row is there, with label, scores, model and times
    place.wait_until_empty(30)
    ((source, item_id, kind, text, state),) = place.rows("SELECT source, item_id, kind, text, state FROM items")
    assert ("shop", "42", "comment", "物流太慢了，再也不买了", "done") == (source, item_id, kind, text, state)
    ((label, score, scores, current),) = place.rows("SELECT label, score, scores, current FROM predictions")
    assert ("negative", True) == (label, current)
    assert {"negative", "positive"} == set(scores)
    assert pytest.approx(1.0) == sum(scores.values())
    assert score == scores["negative"] > 0.5


def test_a_ticket_gets_sentiment_and_team_and_its_sender_a_reply(place: Place) -> None:
    place.apply_sample_routes()
    place.workers.start()
    reply_to = place.settings.keys.reply_prefix + "caller"
    place.add(
        [{"id": "t1", "kind": "ticket", "text": "我的快递三天了还没有发货，物流一直不更新", "reply_to": reply_to}]
    )
    place.wait_until_empty(30)
    assert {"sentiment", "routing"} == set(_current(place, "t1"))
    ((team, status),) = place.rows("SELECT team, status FROM assignments")
    ((_, reply),) = place.client.xrange(reply_to)
    result = json.loads(reply[b"result"])
    assert (b"ok", b"t1") == (reply[b"status"], reply[b"id"])
    assert {"team": team, "status": status} == result["assignment"]
    assert _current(place, "t1")["routing"] == result["routing"]["label"]


def test_what_callers_ask_for_themselves(place: Place) -> None:
    # Given entries with labels of their own, one of which wants no rows
    place.workers.start()
    reply_to = place.settings.keys.reply_prefix + "caller"
    own = {"text": "这部电影的特效很震撼", "tasks": "routing", "reply_to": reply_to}
    place.add(
        [
            own | {"id": "list", "labels": '["电影", "体育", "财经"]'},
            own | {"id": "described", "labels": '{"影视": "电影和电视剧", "球赛": "体育比赛"}', "multi_label": "yes"},
            own | {"id": "unseen", "labels": '["电影", "体育"]', "template": "这是关于{}的", "store": "no"},
        ]
    )
    place.wait_until_empty(30)
    # Then each is answered among its own labels
    replies = {fields[b"id"].decode(): json.loads(fields[b"result"]) for _, fields in place.client.xrange(reply_to)}
    assert {"list": {"电影", "体育", "财经"}, "described": {"影视", "球赛"}, "unseen": {"电影", "体育"}} == {
        name: set(result["routing"]["scores"]) for name, result in replies.items()
    }
    # And rows are there for those that wanted some, with no team assigned: these labels are no teams
    assert [("described",), ("list",)] == sorted(place.rows("SELECT item_id FROM predictions"))
    assert 0 == place.one("SELECT count(*) FROM assignments")


def test_newest_wins_whatever_the_order_or_the_inbox(place: Place) -> None:
    # Given three versions of one item, the newest first, and an old row from a backfill last
    place.workers.start()
    versions = [("很好用，非常满意", "2026-03-03T00:00:00Z"), ("太差了，退款", "2026-01-01T00:00:00+08:00")]
    for text, updated_at in versions:
        place.add([{"id": "1", "text": text, "updated_at": updated_at}])
        place.wait_until_empty(30)
    place.add([{"id": "1", "text": "一般般", "updated_at": "2026-02-02T00:00:00Z"}], Lane.BULK)
    place.wait_until_empty(30)
    # Then the newest is what the tables say
    assert [("很好用，非常满意",)] == place.rows("SELECT text FROM items")
    assert [("positive",)] == place.rows("SELECT label FROM predictions WHERE current")


def test_one_item_twice_in_one_batch_becomes_one_row_of_the_newer(place: Place) -> None:
    place.add([{"id": "1", "text": "太差了"}, {"id": "1", "text": "很好用，非常满意"}])
    place.workers.start()
    place.wait_until_empty(30)
    assert [("很好用，非常满意",)] == place.rows("SELECT text FROM items")
    assert [("positive", True)] == place.rows("SELECT label, current FROM predictions")


def test_past_its_deadline_an_item_is_answered_and_stored_as_expired(place: Place) -> None:
    place.workers.start()
    reply_to = place.settings.keys.reply_prefix + "caller"
    place.add([{"id": "1", "text": "好", "deadline": "2020-01-01T00:00:00Z", "reply_to": reply_to}])
    place.add([{"id": "2", "text": "好", "deadline": "2999-01-01T00:00:00Z", "reply_to": reply_to}])
    place.wait_until_empty(30)
    assert [("1", "expired"), ("2", "done")] == sorted(place.rows("SELECT item_id, state FROM items"))
    assert [("2",)] == place.rows("SELECT item_id FROM predictions")
    assert [b"expired", b"ok"] == [fields[b"status"] for _, fields in place.client.xrange(reply_to)]


BAD: dict[str, tuple[dict[str | bytes, str | bytes], str, str]] = {
    # name: (fields, code, field); `id` and `text` are right where not given
    "no id": ({"id": None}, "missing_field", "id"),  # type: ignore[dict-item]
    "empty id": ({"id": ""}, "empty_field", "id"),
    "long id": ({"id": "x" * 201}, "too_long", "id"),
    "control character in id": ({"id": "a\x01b"}, "bad_character", "id"),
    "NUL in id": ({"id": "a\0b"}, "bad_character", "id"),
    "no text": ({"text": None}, "missing_field", "text"),  # type: ignore[dict-item]
    "empty text": ({"text": ""}, "empty_field", "text"),
    "blank text": ({"text": " \u3000\n"}, "empty_field", "text"),
    "over-long text": ({"text": "长" * (MAX_TEXT_CHARS + 1)}, "too_long", "text"),
    "text not UTF-8": ({"text": "好".encode("gbk")}, "not_utf8", "text"),
    "lone surrogate": ({"text": b"\xed\xa0\x80"}, "not_utf8", "text"),
    "unknown field not UTF-8": ({b"shop\xff": "x"}, "not_utf8", "shop\\xff"),
    "meta no JSON": ({"meta": "{"}, "bad_json", "meta"),
    "meta no object": ({"meta": "[1]"}, "bad_json", "meta"),
    "NaN in meta": ({"meta": '{"a": NaN}'}, "bad_json", "meta"),
    "infinity in meta": ({"meta": '{"a": 1e999}'}, "bad_json", "meta"),
    "NUL in meta": ({"meta": '{"a": "\\u0000"}'}, "bad_json", "meta"),
    "half a pair in meta": ({"meta": '{"a": "\\ud83d"}'}, "bad_json", "meta"),
    "deep meta": ({"meta": '{"a":' * 1200 + "1" + "}" * 1200}, "bad_json", "meta"),
    "quite deep meta": ({"meta": '{"a":' * 70 + "1" + "}" * 70}, "bad_json", "meta"),
    "large meta": ({"meta": json.dumps({"a": "x" * 9000})}, "too_long", "meta"),
    "labels no JSON": ({"labels": "a,b"}, "bad_json", "labels"),
    "labels empty": ({"labels": "[]"}, "bad_labels", "labels"),
    "labels twice": ({"labels": '["a", "a"]'}, "bad_labels", "labels"),
    "labels no text": ({"labels": "[1, 2]"}, "bad_labels", "labels"),
    "date without zone": ({"created_at": "2026-01-01T00:00:00"}, "bad_time", "created_at"),
    "no date": ({"updated_at": "yesterday"}, "bad_time", "updated_at"),
    "date that is none": ({"deadline": "2026-02-30T00:00:00Z"}, "bad_time", "deadline"),
    "unknown kind": ({"kind": "poem"}, "unknown_kind", "kind"),
    "unknown task": ({"tasks": "sentiment,translation"}, "unknown_task", "tasks"),
    "unknown route set": ({"kind": "ticket", "route_set": "nowhere"}, "unknown_route_set", "route_set"),
    "unknown model": ({"model": "gpt"}, "unknown_model", "model"),
    "model that is a path": ({"model": "../../etc"}, "unknown_model", "model"),
    "foreign reply stream": ({"reply_to": "somewhere"}, "bad_value", "reply_to"),
    "template without place": ({"tasks": "routing", "labels": '["a"]', "template": "x"}, "bad_value", "template"),
    "flag": ({"multi_label": "maybe"}, "bad_value", "multi_label"),
}

GOOD: dict[str, dict[str, str]] = {
    "control characters": {"text": "物流\x00太\x07慢\x9f了"},
    "special tokens": {"text": "[SEP] 很好 </s> [MASK] <unk> [CLS]"},
    "emoji": {"text": "😄👍🏽"},
    "only unknown characters": {"text": "\U0001f9ff\U00012345"},
    "unknown fields": {"text": "好", "shop_id": "77", "meta": '{"plan": "pro"}'},
    "longest text": {"text": "长" * MAX_TEXT_CHARS},
}


def test_bad_entries_become_dead_letters_that_help_and_good_ones_rows(place: Place) -> None:
    # Given every kind of bad entry, mixed with unusual good ones, in as few batches as possible
    names = list(BAD)
    for name in names:
        fields: dict[Any, Any] = {"id": f"bad {name}", "text": "好", "source": "test"} | BAD[name][0]
        given = {key: value for key, value in fields.items() if value is not None}
        place.client.xadd(place.settings.keys.inbox(Lane.LIVE), given)
    place.add([{"id": name, "source": "good"} | fields for name, fields in GOOD.items()])
    # When a worker works them off
    place.workers.start()
    place.wait_until_empty(60)
    # Then each bad one is a dead letter with its code and field, in order of arrival
    found = place.rows("SELECT code, field FROM dead_letters ORDER BY entry_id, id")
    by_entry = place.rows("SELECT entry_id, code, field, message FROM dead_letters")
    by_entry.sort(key=lambda row: tuple(int(part) for part in row[0].split("-")))
    assert len(names) == len(found)
    expected = {name: (code, field) for name, (_, code, field) in BAD.items()}
    assert expected == {name: (row[1], row[2]) for name, row in zip(names, by_entry, strict=True)}
    # And its message names the field and says more than that
    for _, _, field, message in by_entry:
        assert field in message
        assert len(message) > len(field) + 10
    # And each good one has its row
    good = "SELECT item_id FROM items JOIN predictions USING (source, item_id) WHERE source = 'good' AND current"
    assert sorted(GOOD) == sorted(row[0] for row in place.rows(good))
    assert [({"plan": "pro", "shop_id": "77"},)] == place.rows(
        "SELECT meta FROM items WHERE item_id = 'unknown fields'"
    )
    assert [("物流 太 慢 了",)] == place.rows("SELECT text FROM items WHERE item_id = 'control characters'")


def test_systems_that_speak_celery_enqueue_with_a_task(place: Place) -> None:
    # Given a worker, and a program that knows only the broker and the task's name
    place.workers.start()
    program = """
import os
from celery import Celery
app = Celery(broker=os.environ["BROKER"])
app.conf.broker_transport_options = {"global_keyprefix": os.environ["KEYPREFIX"]}
app.send_task("fenliu.enqueue", kwargs={"id": "c1", "text": "很好", "meta": {"n": 1}}, queue="fenliu")
app.send_task("fenliu.enqueue", kwargs={"items": [{"id": "c2", "text": "差"}, {"id": "c3"}]}, queue="fenliu")
"""
    more = {"BROKER": place.settings.celery_broker_url, "KEYPREFIX": place.settings.keys.celery_prefix}
    subprocess.run([sys.executable, "-c", program], env=environment(place.settings, **more), check=True, timeout=60)
    # When they are worked off, then they are rows, and the one without a text is a dead letter
    wait_for(lambda: place.one("SELECT count(*) FROM items WHERE state = 'done'") == 2, 60, "two rows")
    wait_for(lambda: place.one("SELECT count(*) FROM dead_letters") == 1, 60, "one dead letter")
    assert [({"n": 1},)] == place.rows("SELECT meta FROM items WHERE item_id = 'c1'")


def test_celerys_own_command_finds_the_app(place: Place) -> None:
    # As beat in docker-compose.yml, Flower and remote control do
    done = subprocess.run(
        [sys.executable, "-m", "celery", "--app", "worker.app", "report"],
        env=environment(place.settings),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    assert "transport:redis" in done.stdout


@pytest.mark.parametrize("pool", ["prefork", "eventlet", "gevent"])
def test_other_pools_are_refused_with_the_reason(place: Place, pool: str) -> None:
    worker = place.workers.start("--pool", pool)
    assert worker.wait(60) != 0
    log = place.workers.log_of(worker)
    assert "threads" in log
    assert "Traceback" not in log


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--no-such-option"], "error: No such option '--no-such-option'."),
        (["--concurrency", "many"], "error: Invalid value for '-c' / '--concurrency': "),
        (["--loglevel", "a\x1b[2J"], "error: Invalid value for '-l' / '--loglevel': 'A\\x1b[2J' "),
    ],
    ids=["unknown", "no number", "no level"],
)
def test_an_option_that_celery_does_not_know_is_one_line(place: Place, options: list[str], problem: str) -> None:
    worker = place.workers.start(*options)
    assert 2 == worker.wait(60)
    log = place.workers.log_of(worker)
    assert log.startswith(problem)
    assert [log] == log.splitlines(keepends=True)


def test_the_solo_pool_works(place: Place) -> None:
    worker = place.workers.start("--pool", "solo")
    place.add([{"id": str(n), "text": "很好"} for n in range(20)])
    place.wait_until_empty(60)
    assert 20 == place.one("SELECT count(*) FROM predictions WHERE current")
    worker.terminate()
    assert 0 == worker.wait(40), place.workers.log_of(worker)


def test_a_worker_that_cannot_load_its_model_says_so_and_ends(place: Place) -> None:
    done = subprocess.run(
        fenliu_command("worker"),
        env=environment(place.settings, FENLIU_MODEL="nowhere"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert 1 == done.returncode
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stderr


def test_times_are_the_items_own(place: Place) -> None:
    place.workers.start()
    place.add([{"id": "1", "text": "好", "created_at": "2026-01-31T08:00:00+08:00"}])
    place.wait_until_empty(30)
    ((created_at, updated_at, received_at),) = place.rows("SELECT created_at, updated_at, received_at FROM items")
    assert datetime(2026, 1, 31, tzinfo=UTC) == created_at
    assert abs((received_at - updated_at).total_seconds()) < 60
