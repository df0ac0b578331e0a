"""`fenliu demo` as a person runs it: whole, beside another one, after a crash, and interrupted."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.stack import Stack, read_stack
from tests.conftest import ROOT, environment, fenliu_command
from worker.demo import demo_home, read_sample
from worker.processes import find

DEMO_S = 280


def start(parent: Path, log: Path) -> subprocess.Popen[bytes]:
    """A demo whose home is made in `parent`; URLs of real servers in the environment must not matter to it."""
    never = {"FENLIU_REDIS_URL": "redis://203.0.113.1/0", "FENLIU_DATABASE_URL": "postgresql://203.0.113.1/f"}
    with log.open("wb") as output:
        return subprocess.Popen(
            fenliu_command("demo"),
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=ROOT,
            env=environment(None, FENLIU_HOME=str(parent), **never),
        )


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + DEMO_S
    while not condition():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.05)


def ready_stack(home: Path) -> Stack | None:
    stack = read_stack(home)
    return stack if stack and stack.ready else None


def living(stack: Stack) -> list[str]:
    recorded = {"supervisor": stack.supervisor, **stack.children}
    return [name for name, process in recorded.items() if process and find(process) is not None]


@pytest.mark.timeout(900)
def test_it_reports_on_every_item_also_after_a_crashed_one(stack: object, tmp_path: Path) -> None:
    # Given a demo that was killed while it worked
    log, home = tmp_path / "log", tmp_path / "demo"
    crashed = start(tmp_path, log)
    wait_until(lambda: ready_stack(home) is not None, crashed, log)
    left = ready_stack(home)
    assert left is not None
    crashed.kill()
    crashed.wait()
    assert ["supervisor", "redis", "postgres", "worker", "beat"] == living(left)

    # When the demo is run again
    again = start(tmp_path, log)
    assert 0 == again.wait(DEMO_S), log.read_text()

    # Then it reports on the whole sample, and nothing of either runs any more
    shown, sample = log.read_text(), read_sample()
    assert f"{sample.items:,} items, " in shown
    assert f"{sample.items} of {sample.items} items have their row" in shown
    assert f"{sample.comments:,} comments and {sample.tickets:,} tickets" in shown
    assert all(word in shown for word in ("negative", "positive", "triage", "物流配送", "recall", "SELECT"))
    assert [] == living(left)
    assert read_stack(home) is None

    # And its data is kept: the commands it prints show it
    script = shown[shown.index("  export FENLIU_HOME=") :]
    done = subprocess.run(
        ["sh", "-ec", script],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(),
        timeout=DEMO_S,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    assert "(20 rows)" in done.stdout


def test_interrupted_it_stops_what_it_started(stack: object, tmp_path: Path) -> None:
    # Given a demo at work
    log, home = tmp_path / "log", tmp_path / "demo"
    demo = start(tmp_path, log)
    wait_until(lambda: ready_stack(home) is not None, demo, log)
    started = ready_stack(home)
    assert started is not None

    # When it gets Ctrl-C
    demo.send_signal(signal.SIGINT)

    # Then it stops everything and says by its exit code that it was interrupted
    assert 130 == demo.wait(DEMO_S), log.read_text()
    assert [] == living(started)


def test_two_demos_have_homes_of_their_own(tmp_path: Path) -> None:
    # Given a demo that lives
    with demo_home(tmp_path) as first:
        (first / "data").touch()
        # When another one begins
        with demo_home(tmp_path) as second:
            # Then it has another home
            assert ("demo", "demo-2") == (first.name, second.name)
    # When both are over, then the next one takes the first home, empty
    with demo_home(tmp_path) as third:
        assert ("demo", []) == (third.name, list(third.iterdir()))
