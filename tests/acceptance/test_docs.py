"""Every command and query in the docs is run, in order, as a reader would: on an embedded stack of its own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy

from schemas.database import make_engine
from schemas.settings import Settings
from schemas.stack import connected
from tests.conftest import ROOT

DOCS = [
    "README.md",
    "docs/inbox.md",
    "docs/dead-letters.md",
    "docs/priorities.md",
    "docs/zero-shot.md",
    "docs/routing.md",
    "docs/schedules.md",
    "docs/dashboards.md",
    "docs/monitoring.md",
    "docs/retention.md",
    "docs/delivery.md",
    "docs/http.md",
    "docs/backfill.md",
    "docs/review.md",
    "docs/quality.md",
    "docs/access.md",
    "docs/security.md",
    "docs/pages.md",
]
MAKE_TARGETS_OF_CI = {"demo", "test", "lint"}

REDIS_CLI = """#!{python}
import sys, redis
from schemas.settings import load_settings
from schemas.stack import connected
print(redis.Redis.from_url(connected(load_settings()).redis_url).execute_command(*sys.argv[1:]))
"""

FENLIU = """#!/bin/sh
exec {python} -m fenliu "$@"
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home, and a PATH on which `fenliu` and `redis-cli` are."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, content in (("redis-cli", REDIS_CLI), ("fenliu", FENLIU)):
        (programs / name).write_text(content.format(python=sys.executable))
        (programs / name).chmod(0o755)
    with tempfile.TemporaryDirectory(prefix="fl-") as folder:
        monkeypatch.setenv("FENLIU_HOME", folder)
        monkeypatch.setenv("PATH", f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}")
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        yield Path(folder)
        _run("fenliu down")


@pytest.fixture
def background(home: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """What commands that end with `&` have started; ended before the stack is."""
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def _start(command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["bash", "-c", command.rstrip("& ")], cwd=ROOT, start_new_session=True)


def _run(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)


def _blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / name).read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", DOCS)
def test_the_commands_work(name: str, background: list[subprocess.Popen[bytes]]) -> None:
    lines = [line.removeprefix("$ ") for block in _blocks(name, "console") for line in block.splitlines()]
    commands = [line for line in lines if line and not line.startswith(("make ", "#"))]
    assert commands
    if not any("fenliu up" in command for command in commands):
        commands.insert(0, "fenliu up --detach")
    if any("curl " in command for command in commands) and not shutil.which("curl"):
        pytest.skip("this machine has no curl")
    for command in commands:
        if command.endswith(" &"):
            background.append(_start(command))
            continue
        done = _run(command)
        assert 0 == done.returncode, f"{command}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("name", DOCS)
def test_the_queries_work(name: str, settings: Settings) -> None:
    engine = make_engine(connected(settings))
    with engine.connect() as connection:
        for block in _blocks(name, "sql"):
            for statement in filter(None, (part.strip() for part in block.split(";"))):
                connection.execute(sqlalchemy.text(statement))
    engine.dispose()


def test_what_the_readme_says_to_make_is_made_in_ci() -> None:
    lines = [line for block in _blocks("README.md", "console") for line in block.splitlines()]
    targets = {line.removeprefix("$ ").split()[1] for line in lines if line.removeprefix("$ ").startswith("make ")}
    assert {"demo", "test"} <= targets <= MAKE_TARGETS_OF_CI
    ci = (ROOT / ".ci" / "run").read_text()
    for target in targets:
        assert f"make {target}" in ci
