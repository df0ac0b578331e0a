"""`fenliu backfill` as people run it: killed, stopped, its Redis restarted, with a real worker behind it."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import pty
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from typer.testing import CliRunner

from producers.backfill.cli import app
from schemas.names import Lane
from schemas.settings import Settings
from tests.acceptance.conftest import Place, Servers
from tests.conftest import ROOT, Fenliu, environment, fenliu_command
from tests.integration.backfills import bulk, ids
from tests.waiting import wait_for

ROWS = 20_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "comments.jsonl"
    path.write_text("".join(json.dumps({"id": number, "text": f"第{number}条很好"}) + "\n" for number in range(ROWS)))
    return path


class Commands:
    """Backfill commands as processes, all ended with the test."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.running: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            fenliu_command("backfill", *arguments),
            cwd=ROOT,
            env=environment(self._settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.running.append(process)
        return process

    def end(self) -> None:
        for process in self.running:
            process.kill()
            process.communicate()


@pytest.fixture
def commands(place: Place) -> Iterator[Commands]:
    commands = Commands(place.settings)
    yield commands
    commands.end()


def said_here(place: Place, *arguments: str) -> str:
    """What a command that is over at once prints, run in this process, which is quicker."""
    done = CliRunner().invoke(app, list(arguments), env=environment(place.settings))
    assert 0 == done.exit_code, done.output
    return done.stdout


def enqueued(place: Place) -> int:
    return int(place.client.xlen(place.settings.keys.inbox(Lane.BULK)))


def wait_for_rows(place: Place, process: subprocess.Popen[str], more_than: int) -> None:
    wait_for(
        lambda: process.poll() is not None or enqueued(place) > more_than, 60, f"more than {more_than} rows enqueued"
    )


def test_killed_again_and_again_every_row_is_enqueued_exactly_once(
    place: Place, commands: Commands, path: Path
) -> None:
    # Given a backfill that is killed at moments of chance
    seed = random.randrange(2**32)
    sys.stdout.write(f"seed {seed}\n")
    chance = random.Random(seed)
    process = commands.start("start", str(path), "--no-wait", "--rate", "20000")
    for _ in range(3):
        wait_for_rows(place, process, enqueued(place) + chance.randint(0, 3_000))
        process.kill()
        process.wait(10)
        # when it is resumed at once, since its process is known to be dead
        process = commands.start("resume", "1", "--no-wait")
    said, problem = process.communicate(timeout=60)
    # then all rows are in the inbox, in order, none of them twice
    assert (0, "") == (process.returncode, problem), said
    assert [str(number) for number in range(ROWS)] == ids(bulk(place.client, place.settings))
    status = json.loads(said_here(place, "status", "1", "--json"))
    assert ("draining", ROWS, ROWS, 0) == tuple(status[name] for name in ("state", "read", "enqueued", "refused"))


def test_stopped_it_says_how_to_go_on(place: Place, commands: Commands, path: Path) -> None:
    process = commands.start("start", str(path), "--rate", "2000")
    wait_for_rows(place, process, 0)
    # Somebody else is turned away meanwhile.
    other = commands.start("resume", "1")
    _, problem = other.communicate(timeout=60)
    assert (1, True) == (other.returncode, "works on backfill 1" in problem)
    # Stopped, it is so at once, and the lease is free.
    process.send_signal(signal.SIGTERM)
    _, problem = process.communicate(timeout=20)
    assert (143, True) == (process.returncode, "go on with `fenliu backfill resume 1`" in problem)
    status = json.loads(said_here(place, "status", "1", "--json"))
    assert ("stopped", enqueued(place)) == (status["state"], status["enqueued"])
    cancelled = json.loads(said_here(place, "cancel", "1", "--json"))
    assert (status["enqueued"], 0) == (cancelled["removed"], enqueued(place))


def test_a_redis_that_restarts_is_waited_for(servers: Servers, own_place: Place, path: Path) -> None:
    commands = Commands(own_place.settings)
    try:
        process = commands.start("start", str(path), "--no-wait", "--rate", "8000")
        wait_for_rows(own_place, process, 3_000)
        servers.restart(servers.redis)
        wait_for_rows(own_place, process, 8_000)
        servers.kill(servers.redis)
        servers.start(servers.redis)
        said, problem = process.communicate(timeout=60)
        assert 0 == process.returncode, said + problem
        assert [str(number) for number in range(ROWS)] == ids(bulk(own_place.client, own_place.settings))
    finally:
        commands.end()


def test_a_pipe_of_gzip_is_read_and_looked_at(place: Place, fenliu: Fenliu) -> None:
    rows = b"id,text,stars\n" + b"".join(b"%d,ok %d,5\n" % (number, number) for number in range(3_000)) + b"x,\n"
    done = fenliu("backfill", "start", "-", "--no-wait", "--source", "pipe", "--json", input=gzip.compress(rows))
    started = json.loads(done.stdout)
    assert (0, 3_000, 1, "-") == (done.returncode, started["enqueued"], started["refused"], started["origin"])
    assert 3_000 == enqueued(place)
    shown = said_here(place, "status", "1")
    assert "backfill 1: draining, -\n  3,001 rows read, 3,000 enqueued, 0 skipped, 1 refused\n" in shown
    assert "line 3002: text: is empty" in shown
    assert re.search(r"^ +1  draining .* 3,000 enqueued +1 refused  -$", said_here(place, "list"), re.M)
    # All of the inbox gone, the end is there for whoever resumes it; another pipe would not have been read again.
    place.client.delete(place.settings.keys.inbox(Lane.BULK))
    assert 0 == fenliu("backfill", "resume", "1").returncode
    assert 1 == fenliu("backfill", "resume", "1").returncode


def test_a_backfill_of_which_every_row_is_refused_has_failed(fenliu: Fenliu, tmp_path: Path) -> None:
    # Given a file whose ids are no ids, when it is poured in
    path = tmp_path / "old.jsonl"
    path.write_text('{"id": 1.5, "text": "好"}\n{"id": [], "text": "好"}\n')
    done = fenliu("backfill", "start", str(path), "--json")
    # then the command says so by its exit code too
    assert (1, 2, 0) == (done.returncode, json.loads(done.stdout)["refused"], json.loads(done.stdout)["enqueued"])


def test_a_terminal_gets_a_bar_with_rate_and_time_left(place: Place) -> None:
    # Given items, which have to be counted first, for somebody who watches
    with place.engine.begin() as connection:
        connection.execute(
            sqlalchemy.text(
                "INSERT INTO items SELECT 'shop', n, 'comment', '好', 'zh', 'done', now(), now(), now(), '{}',"
                " '1-1', 1, 1 FROM generate_series(1, 3000) n"
            )
        )
    ours, theirs = pty.openpty()
    done = subprocess.run(
        fenliu_command("backfill", "start", "items", "--no-wait"), cwd=ROOT, stdin=subprocess.DEVNULL,
        env=environment(place.settings, TERM="xterm", COLUMNS="100"), stdout=subprocess.PIPE, stderr=theirs, text=True,
        check=True,
    )  # fmt: skip
    os.close(theirs)
    drawn = b""
    with contextlib.suppress(OSError):
        while piece := os.read(ours, 65_536):
            drawn += piece
    os.close(ours)
    assert "3,000 enqueued" in done.stdout
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", drawn.decode())
    assert re.search(r"enqueued, [\d,]+ rows/s ━+ \d:\d\d:\d\d \d:\d\d:\d\d", plain)
    assert 3_000 == place.one("SELECT total FROM backfills")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["nothing.csv"], "is no file"),
        ([], "is missing"),
        (["postgresql://u:geheim@h/d"], "needs --query"),
        (["--url-env", "NOT_SET", "--query", "SELECT 1", "--key", "k"], "NOT_SET is not set"),
        (["items", "--tasks", "joy"], "use sentiment, routing"),
        (["items", "--encoding", "klingon"], "is no encoding"),
        (["items", "--encoding", "rot13"], "is no encoding"),
        (["items", "--rate", "inf"], "--rate is a number"),
    ],
)
def test_misuse_is_told_before_anything_is_written(arguments: list[str], problem: str) -> None:
    done = CliRunner().invoke(app, ["start", *arguments], env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"})
    assert 2 == done.exit_code
    assert problem in " ".join(done.output.replace("│", " ").split())
    assert "geheim" not in done.output


def test_the_report_of_a_real_worker(place: Place, fenliu: Fenliu, tmp_path: Path) -> None:
    # Given comments, one too late, one for a model that does not exist, one item twice, one without text
    path = tmp_path / "comments.csv"
    rows: list[tuple[Any, ...]] = [(1, "质量很好，非常满意", "", ""), (2, "太差了，再也不买", "", "")]
    rows += [(3, "很好", "2020-01-01T00:00:00Z", ""), (4, "很好", "", "no-such-model"), (1, "质量真的很好", "", "")]
    path.write_text("id,text,deadline,model\n" + "".join(",".join(map(str, row)) + "\n" for row in rows) + "9,,,\n")
    place.workers.start()
    # When they are poured in and worked off
    done = fenliu("backfill", "start", str(path), "--source", "shop", "--json")
    assert 0 == done.returncode, done.stderr
    report = json.loads(done.stdout)["report"]
    # then the report says what the tables say
    wanted = {"read": 6, "enqueued": 5, "refused": 1, "done": 2, "expired": 1, "superseded": 1}
    assert wanted == {name: report[name] for name in wanted}
    assert {"unknown_model": 1} == report["dead_lettered"]
    counted = place.rows("SELECT label, count(*) FROM predictions WHERE lane = 'bulk' GROUP BY label")
    assert dict(counted) == {label: one["count"] for label, one in report["labels"]["sentiment"].items()}
    assert (0, 0) == place.left()
    shown = said_here(place, "status", "1")
    assert "2 done, 1 expired, 1 superseded, 1 dead-lettered" in shown
