"""The examples in docs/integrations.md and docs/sdk.md, each run in its own language, arrive as rows."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
import sqlalchemy

from schemas.database import make_engine
from schemas.settings import Settings
from schemas.stack import connected
from tests.acceptance.test_docs import FENLIU, REDIS_CLI, _blocks
from tests.conftest import ROOT, fenliu_command
from tests.waiting import wait_for

PAGE = "docs/integrations.md"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Reader:
    """Somebody who tries out the examples, on a Fenliu with TCP ports of its own."""

    folder: Path
    environment: dict[str, str]
    engine: sqlalchemy.Engine
    redis_port: int
    http_port: int

    def examples(self, page: str, language: str) -> list[str]:
        """The blocks of a page, with this Fenliu's ports."""
        blocks = [
            block.replace("localhost:6379", f"127.0.0.1:{self.redis_port}").replace(
                "localhost:8000", f"127.0.0.1:{self.http_port}"
            )
            for block in _blocks(page, language)
        ]
        assert blocks
        return blocks

    def run(self, *command: str, folder: Path = ROOT) -> str:
        """Run one program to its end; what it printed."""
        done = subprocess.run(
            command, cwd=folder, env=self.environment, capture_output=True, text=True, timeout=240, check=False
        )
        assert 0 == done.returncode, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def wait_for_items(self, source: str, number: int) -> None:
        """Wait for the rows of what was sent."""
        statement = sqlalchemy.text("SELECT count(*) FROM items WHERE source = :source AND state = 'done'")

        def arrived() -> bool:
            with self.engine.connect() as connection:
                return number == connection.execute(statement, {"source": source}).scalar_one()

        wait_for(arrived, 60, f"{number} items of {source}")


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """The embedded stack with teams, its Redis listening on a port besides its socket."""
    folder, programs = tmp_path_factory.mktemp("f"), tmp_path_factory.mktemp("bin")
    for name, content in (("redis-cli", REDIS_CLI), ("fenliu", FENLIU)):
        (programs / name).write_text(content.format(python=sys.executable))
        (programs / name).chmod(0o755)
    redis_port, http_port = free_port(), free_port()
    environment = os.environ | {
        "FENLIU_HOME": str(folder / "home"),
        "FENLIU_HTTP_PORT": str(http_port),
        "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    try:
        for command in (["up", "--detach"], ["routes", "apply", "producers/sample/routes.yaml"]):
            subprocess.run(fenliu_command(*command), cwd=ROOT, env=environment, check=True, capture_output=True)
        settings = connected(Settings(home=folder / "home"))
        with redis.Redis.from_url(settings.redis_url) as server:
            server.config_set("port", redis_port)
        engine = make_engine(settings)
        yield Reader(folder, environment, engine, redis_port, http_port)
        engine.dispose()
    finally:
        subprocess.run(fenliu_command("down"), cwd=ROOT, env=environment, check=False, capture_output=True)


def needed(program: str) -> None:
    """Some programs are not everybody's; CI has them all."""
    if shutil.which(program) is None:
        if os.environ.get("CI"):
            pytest.fail(f"CI must have {program}; .ci/run installs it on Debian")
        pytest.skip(f"no {program} here")


def test_from_python_and_celery(reader: Reader) -> None:
    for block in reader.examples(PAGE, "python"):
        reader.run(sys.executable, "-c", block)
    reader.wait_for_items("python", 1)
    reader.wait_for_items("celery", 11)


def test_from_node(reader: Reader) -> None:
    needed("node")
    needed("npm")
    [block] = reader.examples(PAGE, "js")
    reader.run("npm", "install", "--no-audit", "--no-fund", "--no-save", "redis@5", folder=reader.folder)
    (reader.folder / "example.mjs").write_text(block, encoding="utf-8")
    assert "ok positive\n" == reader.run("node", "example.mjs", folder=reader.folder)
    reader.wait_for_items("node", 2)


def test_from_the_shell(reader: Reader) -> None:
    needed("curl")
    lines = [line.removeprefix("$ ") for block in reader.examples(PAGE, "console") for line in block.splitlines()]
    lines.remove("fenliu serve")
    gateway = subprocess.Popen(fenliu_command("serve"), cwd=ROOT, env=reader.environment)
    try:
        wait_for(lambda: answers(f"http://127.0.0.1:{reader.http_port}/healthz"), 60, "a gateway that answers")
        for line in lines:
            reader.run("bash", "-c", line)
    finally:
        gateway.terminate()
        gateway.wait(60)
    reader.wait_for_items("redis-cli", 1)
    reader.wait_for_items("curl", 2)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def test_the_sdk_page_is_one_program(reader: Reader) -> None:
    printed = reader.run(sys.executable, "-c", "\n".join(reader.examples("docs/sdk.md", "python")))
    for line in ("2 empty_field text text: is empty", "too_long text", "物流", "['positive', 'negative']"):
        assert line in printed
    reader.wait_for_items("desk", 1)
    reader.wait_for_items("async", 101)
    reader.wait_for_items("shop", 1004)


def test_the_other_languages_say_the_same() -> None:
    for language in ("java", "go"):
        [block] = _blocks(PAGE, language)
        assert all(word in block for word in ("fenliu:inbox:live", '"id"', '"source"', '"text"'))
