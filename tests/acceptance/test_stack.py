"""`fenliu up`, `down`, `env` and `status` as a person runs them, crashes included."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest
import redis

from schemas.settings import Settings
from schemas.stack import Stack, read_stack, running_stack, stack_file
from tests.conftest import ROOT, environment, fenliu_command
from tests.models import Home as Models
from tests.waiting import wait_for
from worker.processes import record

DEEP = "一个 很深的 folder with spaces/" * 4
START_S = 120


@dataclass
class Stacks:
    """Runs `fenliu …` for one home, with a tiny model and nothing else set."""

    home: Path
    more: dict[str, str] = field(default_factory=dict)
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        return environment(None, **{"FENLIU_HOME": str(self.home), "FENLIU_MODEL": "tiny", **self.more})

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            fenliu_command(*arguments),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            cwd=ROOT,
            env=self.environment,
            timeout=START_S,
            check=False,
        )

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            fenliu_command(*arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env=self.environment,
        )
        self.running.append(process)
        return process

    def note(self) -> Stack:
        stack = read_stack(self.home)
        assert stack is not None
        return stack

    def pids(self) -> dict[str, int]:
        stack = self.note()
        assert stack.supervisor is not None
        return {"supervisor": stack.supervisor.pid} | {name: child.pid for name, child in stack.children.items()}

    def urls(self) -> dict[str, str]:
        done = self.run("env")
        assert 0 == done.returncode, done.stderr
        return dict(line.split("=", 1) for line in done.stdout.splitlines())

    def status(self) -> dict[str, Any]:
        done = self.run("status", "--json")
        assert 0 == done.returncode, done.stderr
        return json.loads(done.stdout)

    def end(self) -> None:
        for process in self.running:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.communicate(timeout=START_S)
        self.run("down")


@pytest.fixture
def stacks(stack: object) -> Iterator[Stacks]:
    """A home whose path is too long for unix sockets, with spaces and Chinese in it."""
    with tempfile.TemporaryDirectory(prefix="fl-") as folder:
        home = Path(folder).resolve() / DEEP / "home"
        Models(home / "models").add()
        stacks = Stacks(home)
        yield stacks
        stacks.end()


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def query(url: str, statement: str) -> Any:
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()[0]
    finally:
        connection.close()


def test_up_serves_until_down_and_keeps_what_it_was_given(stacks: Stacks) -> None:
    # Given a stack that was started in the background
    up = stacks.run("up", "--detach", "--slots", "1")
    assert 0 == up.returncode, up.stderr
    pids = stacks.pids()

    # Then its URLs work for any client, and its status says what runs
    urls = stacks.urls()
    assert {"FENLIU_REDIS_URL", "FENLIU_DATABASE_URL"} == urls.keys()
    with redis.Redis.from_url(urls["FENLIU_REDIS_URL"]) as client:
        client.xadd("fenliu:inbox:live", {"id": "42", "source": "shop", "text": "物流太慢了"})
        wait_for(lambda: client.xlen("fenliu:inbox:live") == 0, START_S, "the entry is classified")
        assert "yes" == client.config_get("appendonly")["appendonly"]
    assert 1 == query(urls["FENLIU_DATABASE_URL"], "SELECT count(*) FROM items WHERE source = 'shop'")
    status = stacks.status()
    assert [1] == [worker["slots"] for worker in status["workers"]]
    assert {"backlog": 0, "pending": 0, "oldest_age_s": None} == status["inboxes"]["live"]
    assert [("tiny", "1")] == [(model["name"], model["version"]) for model in status["models"]]
    assert 0 == stacks.run("status", "--healthy").returncode
    assert "tiny/1" in stacks.run("status").stdout

    # When it is started again, then it stays as it is
    assert (0, True) == ((again := stacks.run("up", "--detach")).returncode, "already" in again.stdout)
    assert (1, True) == ((again := stacks.run("up")).returncode, again.stderr.startswith("error: a stack runs in"))
    assert pids == stacks.pids()

    # When it is stopped, then nothing of it is left running, and that is said
    assert 0 == stacks.run("down").returncode
    assert [] == [name for name, pid in pids.items() if alive(pid)]
    assert "nothing runs" in stacks.run("down").stdout
    gone = stacks.run("env")
    assert (1, "") == (gone.returncode, gone.stdout)
    assert "fenliu up" in gone.stderr

    # When it is started once more, then the rows are there
    assert 0 == stacks.run("up", "--detach").returncode
    assert 1 == query(stacks.urls()["FENLIU_DATABASE_URL"], "SELECT count(*) FROM items WHERE source = 'shop'")


def test_what_dies_is_started_again(stacks: Stacks) -> None:
    # Given a stack in the foreground
    up = stacks.begin("up")
    wait_for(lambda: running_stack(stacks.home) is not None or up.poll() is not None, START_S, "the stack is ready")
    assert up.poll() is None, up.communicate()
    before = stacks.pids()

    # When its worker, its clock and both servers are killed
    for name in ("beat", "worker", "redis", "postgres"):
        os.kill(before[name], signal.SIGKILL)

    # Then all come back, and work goes on
    wait_for(
        lambda: all(pid != before[name] for name, pid in stacks.pids().items() if name != "supervisor"), START_S, "back"
    )
    url = stacks.urls()["FENLIU_REDIS_URL"]
    wait_for(lambda: bool(_pinged(url)), START_S, "Redis answers")
    with redis.Redis.from_url(url) as client:
        client.xadd("fenliu:inbox:live", {"id": "1", "text": "很好"})
        wait_for(lambda: client.xlen("fenliu:inbox:live") == 0, START_S, "the entry is classified")

    # When it gets Ctrl-C, then it drains and ends well
    pids = stacks.pids()
    up.send_signal(signal.SIGINT)
    output, _ = up.communicate(timeout=START_S)
    assert 0 == up.returncode, output
    assert ["beat", "worker", "redis", "postgres"] == [
        line.removeprefix("stopping ") for line in output.splitlines() if line.startswith("stopping ")
    ]
    assert [] == [name for name, pid in pids.items() if alive(pid)]


def _pinged(url: str) -> bool:
    with redis.Redis.from_url(url) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False


def test_a_crash_leaves_nothing_in_the_way(stacks: Stacks) -> None:
    # Given a stack whose supervisor was killed
    assert 0 == stacks.run("up", "--detach").returncode
    first = stacks.pids()
    os.kill(first["supervisor"], signal.SIGKILL)
    wait_for(lambda: not alive(first["supervisor"]), START_S, "the supervisor is gone")
    assert 1 == stacks.run("env").returncode

    # When two start it again at once
    both = stacks.begin("up"), stacks.begin("up")
    wait_for(lambda: sum(process.poll() is None for process in both) == 1, START_S, "one gives way")
    wait_for(lambda: running_stack(stacks.home) is not None, START_S, "the other is ready")

    # Then that one works, and what was left of the first is gone
    second = stacks.pids()
    assert second["supervisor"] in [process.pid for process in both]
    assert [] == [name for name, pid in first.items() if alive(pid)]

    # When that one is killed too, then down stops what it left
    os.kill(second["supervisor"], signal.SIGKILL)
    assert 0 == stacks.run("down").returncode
    assert [] == [name for name, pid in second.items() if alive(pid)]
    assert not Path(stacks.home / "run" / "stack.json").exists()


def test_a_pid_that_someone_else_has_now_is_left_alone(stacks: Stacks) -> None:
    # Given a note of long ago whose pids belong to another process now
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as stranger:
        run = stacks.home / "run"
        run.mkdir()
        (run / "lock").touch()
        mine = record(stranger.pid)
        old = {"pid": mine.pid, "started_s": mine.started_s - 60, "boot": mine.boot}
        note = {"ready": True, "redis_url": "", "database_url": "", "sockets": ""}
        stack_file(stacks.home).write_text(json.dumps(note | {"supervisor": old, "children": {"redis": old}}))

        # When that home is stopped
        down = stacks.run("down")

        # Then the other process lives on
        assert 0 == down.returncode, down.stderr
        assert stranger.poll() is None
        stranger.kill()


def test_a_stack_that_cannot_start_says_why_and_leaves_nothing(stacks: Stacks) -> None:
    # Given a model that does not exist
    stacks.more["FENLIU_MODEL"] = "no-such-model"

    # When the stack is started
    done = stacks.run("up", "--detach")

    # Then the reason is told, and nothing runs
    assert 1 == done.returncode
    assert "no-such-model" in done.stderr
    assert not stack_file(stacks.home).exists()


def test_servers_whose_urls_are_set_are_not_started(stacks: Stacks, settings: Settings) -> None:
    # Given a Redis and a PostgreSQL elsewhere
    stacks.more |= {
        "FENLIU_REDIS_URL": settings.redis_url,
        "FENLIU_DATABASE_URL": settings.database_url,
        "FENLIU_PREFIX": settings.prefix,
    }

    # When the stack is started
    assert 0 == stacks.run("up", "--detach").returncode

    # Then it is a worker and a clock, on those
    assert {"supervisor", "worker", "beat"} == stacks.pids().keys()
    assert not (stacks.home / "redis").exists() and not (stacks.home / "postgres").exists()
    assert 1 == len(stacks.status()["workers"])


def test_health_is_that_the_inbox_moves(stacks: Stacks, settings: Settings, redis_client: redis.Redis) -> None:
    # Given an inbox and no worker
    stacks.more |= {
        "FENLIU_REDIS_URL": settings.redis_url,
        "FENLIU_DATABASE_URL": settings.database_url,
        "FENLIU_PREFIX": settings.prefix,
    }
    assert (1, True) == ((done := stacks.run("status", "--healthy")).returncode, "no worker" in done.stderr)

    # When a worker lives that has committed nothing for long while an entry waits, then that is no health
    now_s = time.time()
    heart = {"host": "h", "pid": 1, "slots": 1, "model": "m/1", "items": 9, "held": 1}
    redis_client.hset(
        settings.keys.worker("w"), mapping=heart | {"started_at": now_s - 900, "last_commit_at": now_s - 300}
    )
    redis_client.xadd(f"{settings.prefix}:inbox:bulk", {"id": "1", "text": "x"}, id=f"{int((now_s - 200) * 1000)}-0")
    assert (1, True) == ((done := stacks.run("status", "--healthy")).returncode, "nothing has been" in done.stderr)
    status = stacks.status()
    assert (1, False) == (status["inboxes"]["bulk"]["backlog"], status["moving"])
    assert 200 <= status["inboxes"]["bulk"]["oldest_age_s"]

    # When it commits again, then it is
    redis_client.hset(settings.keys.worker("w"), "last_commit_at", str(time.time()))
    assert 0 == stacks.run("status", "--healthy").returncode
