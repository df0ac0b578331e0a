"""`fenliu enqueue` and the client against a real Redis: what other programs find in the inbox afterwards."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import time
from pathlib import Path

import pytest
import redis

from producers.client import Client
from producers.item import Item
from schemas.errors import InboxFullError, InboxUnavailableError, SetupError
from schemas.messages import RawEntry, decode
from schemas.names import Lane
from schemas.settings import Settings
from tests.conftest import ROOT, Fenliu, environment, fenliu_command


def waiting(client: redis.Redis, settings: Settings, lane: Lane = Lane.LIVE) -> list[dict[str, str]]:
    """Fields of every entry, each one as a worker can decode it."""
    found = client.xrange(settings.keys.inbox(lane))
    for entry_id, fields in found:
        decode(RawEntry(lane, entry_id.decode(), fields), settings.keys)
    return [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in found]


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_shipped_tickets_go_in(fenliu: Fenliu, redis_client: redis.Redis, settings: Settings) -> None:
    file = ROOT / "producers" / "sample" / "tickets.csv"
    done = fenliu("enqueue", str(file), "--kind", "ticket", "--source", "sample", "--json")
    summary = json.loads(done.stdout)
    entries = waiting(redis_client, settings)
    assert (0, 0, "live") == (done.returncode, summary["refused"], summary["lane"])
    assert len(entries) == summary["enqueued"] >= 200
    assert {("ticket", "sample")} == {(entry["kind"], entry["source"]) for entry in entries}
    # The columns that no entry knows go along.
    assert all(entry["team"] for entry in entries)


def test_what_is_refused_is_named_by_line_and_the_rest_goes_in(
    fenliu: Fenliu, redis_client: redis.Redis, settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "items.csv"
    file.write_text("id,text,kind\n1,好,\n2,,\n3,a,b,c\n4,坏,novel\n5,好,ticket\n")
    done = fenliu("enqueue", str(file), "--bulk")
    assert (1, "2 enqueued in the bulk inbox, 3 refused\n") == (done.returncode, done.stdout)
    assert [
        "  line 3: text: is empty; give 1 to 20000 characters",
        "  line 4: has 4 cells for 3 columns; quote cells that hold ','",
        "  line 5: kind: is 'novel'; use comment or ticket",
    ] == done.stderr.splitlines()
    assert ["1", "5"] == [entry["id"] for entry in waiting(redis_client, settings, Lane.BULK)]


def test_only_the_first_refusals_are_shown(fenliu: Fenliu, tmp_path: Path) -> None:
    file = tmp_path / "items.jsonl"
    file.write_text("".join('{"text": ""}\n' if number % 2 else "x\n" for number in range(1, 61)))
    done = fenliu("enqueue", str(file))
    shown = [line.split(":")[0] for line in done.stderr.splitlines()]
    assert [*(f"  line {number}" for number in range(1, 21)), "  and 40 more"] == shown


@pytest.mark.parametrize("content", ["好\n\n差\n", '{"text": "好"}\n{"text": "差"}\n', "text,city\n好,北京\n差,上海\n"])
def test_a_pipe_goes_in(fenliu: Fenliu, redis_client: redis.Redis, settings: Settings, content: str) -> None:
    for arguments in (("enqueue",), ("enqueue", "-")):
        assert 0 == fenliu(*arguments, input=content).returncode
    first, second, *again = waiting(redis_client, settings)
    assert ("好", "差") == (first["text"], second["text"])
    # The same again has the same ids: no item twice.
    assert [first["id"], second["id"]] == [entry["id"] for entry in again]


def test_a_full_inbox_stops_it_and_wait_goes_on(
    fenliu: Fenliu, redis_client: redis.Redis, settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "lines.txt"
    file.write_text("".join(f"第{number}条\n" for number in range(50)))
    done = fenliu("enqueue", str(file), "--json", FENLIU_INBOX_BOUND="20")
    assert (1, 20) == (done.returncode, json.loads(done.stdout)["enqueued"])
    assert "the live inbox holds 20 entries and its bound is 20" in done.stderr
    assert "20 items are in the live inbox; enqueue the file again, which makes no item twice" in done.stderr

    redis_client.delete(settings.keys.inbox(Lane.LIVE))
    patient = subprocess.Popen(
        fenliu_command("enqueue", str(file), "--wait"), cwd=ROOT, stdout=subprocess.PIPE, text=True,
        env=environment(settings, FENLIU_INBOX_BOUND="20"),
    )  # fmt: skip
    taken: list[str] = []
    while len(taken) < 50:
        for entry_id, fields in redis_client.xrange(settings.keys.inbox(Lane.LIVE)):
            redis_client.xdel(settings.keys.inbox(Lane.LIVE), entry_id)
            taken.append(fields[b"text"].decode())
        time.sleep(0.01)
    assert ("50 enqueued in the live inbox, 0 refused\n", None) == patient.communicate()
    assert [f"第{number}条" for number in range(50)] == taken


@pytest.mark.parametrize(
    "arguments",
    [
        ("no such file",),
        (".",),
        ("pyproject.toml", "--encoding", "klingon"),
        ("pyproject.toml", "--format", "xml"),
        ("pyproject.toml", "--kind", "novel"),
    ],
)
def test_misuse_exits_2(
    fenliu: Fenliu, redis_client: redis.Redis, settings: Settings, arguments: tuple[str, ...]
) -> None:
    assert 2 == fenliu("enqueue", *arguments).returncode
    assert [] == waiting(redis_client, settings)


def test_a_file_that_cannot_be_read_exits_1(fenliu: Fenliu, tmp_path: Path) -> None:
    file = tmp_path / "items.csv"
    file.write_text("id,body\n1,x\n")
    done = fenliu("enqueue", str(file))
    assert 1 == done.returncode
    assert "error: items.csv: has no column 'text' (columns: id, body)" in done.stderr


def test_a_terminal_gets_a_progress_bar(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "lines.txt"
    file.write_text("".join(f"第{number}条\n" for number in range(3000)))
    ours, theirs = pty.openpty()
    done = subprocess.run(
        fenliu_command("enqueue", str(file)), cwd=ROOT, env=environment(settings, TERM="xterm", COLUMNS="100"),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs, text=True, check=True,
    )  # fmt: skip
    os.close(theirs)
    drawn = b""
    try:
        while piece := os.read(ours, 65_536):
            drawn += piece
    except OSError:
        pass  # the end of a terminal whose other side is closed
    os.close(ours)
    assert "3,000 enqueued" in drawn.decode()
    assert "━" in drawn.decode()
    assert "3000 enqueued in the live inbox, 0 refused\n" == done.stdout


# --- the client ------------------------------------------------------------------------------------------------------


def test_the_client_works_as_documented(settings: Settings, redis_client: redis.Redis) -> None:
    with Client(settings.redis_url, prefix=settings.prefix) as client:
        entry_id = client.enqueue("42", "物流太慢了", source="shop", kind="ticket")
        summary = client.enqueue_many((Item(str(number), "好") for number in range(1234)), lane=Lane.BULK)
    [(found, fields)] = redis_client.xrange(settings.keys.inbox(Lane.LIVE))
    assert (entry_id.encode(), "物流太慢了".encode()) == (found, fields[b"text"])
    assert (1234, 1234) == (summary.enqueued, redis_client.xlen(settings.keys.inbox(Lane.BULK)))
    found_ids = [entry["id"] for entry in waiting(redis_client, settings, Lane.BULK)]
    assert [str(number) for number in range(1234)] == found_ids


def test_a_key_that_is_no_stream_says_so(settings: Settings, redis_client: redis.Redis) -> None:
    redis_client.set(settings.keys.inbox(Lane.LIVE), "x")
    with pytest.raises(SetupError, match="WRONGTYPE"):
        Client.from_settings(settings).enqueue("1", "x")


def test_redis_out_of_memory_can_be_retried(settings: Settings, redis_client: redis.Redis) -> None:
    redis_client.config_set("maxmemory", "1")
    try:
        with pytest.raises(InboxUnavailableError):
            Client.from_settings(settings).enqueue("1", "x")
    finally:
        redis_client.config_set("maxmemory", "0")
    assert Client.from_settings(settings).enqueue("1", "x")


def test_the_bound_holds_across_clients(settings: Settings, redis_client: redis.Redis) -> None:
    first, second = (Client(settings.redis_url, prefix=settings.prefix, inbox_bound=10) for _ in range(2))
    first.enqueue_many(Item(str(number), "x") for number in range(10))
    with pytest.raises(InboxFullError):
        second.enqueue("10", "x")
    assert 10 == redis_client.xlen(settings.keys.inbox(Lane.LIVE))
    first.close()
    second.close()
