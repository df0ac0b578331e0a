"""Fixtures: real servers, a fresh database and Redis prefix per test, and the command line as people run it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import psycopg2
import pytest
import redis
import sqlalchemy

from schemas.errors import SetupError
from schemas.settings import Settings
from worker import processes
from worker.servers import PostgresServer, RedisServer, make_sockets_folder, remove_sockets_folder

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE_DATABASE = "template_fenliu"

# A busy machine must not fail an example for being slow.
hypothesis.settings.register_profile("fenliu", deadline=None)
hypothesis.settings.load_profile("fenliu")

Fenliu = Callable[..., subprocess.CompletedProcess[str]]


@dataclass(frozen=True)
class TestStack:
    """One Redis and one PostgreSQL for the whole run."""

    __test__ = False

    home: Path
    redis_url: str
    postgres: PostgresServer

    def sql(self, statement: str) -> None:
        """Run one statement outside of any transaction, on the server's own database."""
        connection = psycopg2.connect(self.postgres.url_of("postgres"))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
        finally:
            connection.close()


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> None:
    """A developer's FENLIU_* variables must not reach the tests, nor their children."""
    for name in [name for name in os.environ if name.startswith("FENLIU_")]:
        del os.environ[name]


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_reaches_children() -> None:
    """A shell starts background jobs with SIGINT ignored, and children inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def stack() -> Iterator[TestStack]:
    """Embedded servers in a short temporary home. Without them: a failure in CI, a skip elsewhere."""
    with tempfile.TemporaryDirectory(prefix="fl-") as folder:
        home = Path(folder).resolve()
        (home / "run").mkdir()
        sockets = make_sockets_folder(home)
        servers = RedisServer(home, sockets), PostgresServer(home, sockets, durable=False)
        started: list[subprocess.Popen[bytes]] = []
        try:
            try:
                for server in servers:
                    started.append(server.launch())
                    processes.wait_for(server, started[-1])
            except SetupError as error:
                if os.environ.get("CI"):
                    raise
                pytest.skip(str(error))
            yield TestStack(home, servers[0].url, servers[1])
        finally:
            for process, server in zip(started, servers, strict=False):
                processes.stop(processes.record(process.pid), server.stop_signal, server.stop_s)
                process.wait()
            remove_sockets_folder(home, str(sockets))


@pytest.fixture(scope="session")
def _template(stack: TestStack) -> str:
    """A database with the schema in place, which the others are copied from."""
    from worker.migrate import migrate

    stack.sql(f"CREATE DATABASE {TEMPLATE_DATABASE}")
    migrate(Settings(redis_url=stack.redis_url, database_url=stack.postgres.url_of(TEMPLATE_DATABASE)))
    return TEMPLATE_DATABASE


@pytest.fixture
def settings(stack: TestStack, _template: str, tmp_path: Path) -> Iterator[Settings]:
    """Settings on a migrated database and a Redis prefix that are this test's alone."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    stack.sql(f"CREATE DATABASE {name} TEMPLATE {_template} STRATEGY FILE_COPY")
    settings = Settings(
        home=tmp_path / "home", redis_url=stack.redis_url, database_url=stack.postgres.url_of(name), prefix=name
    )
    yield settings
    with redis.Redis.from_url(stack.redis_url) as client:
        for key in list(client.scan_iter(f"{name}*", count=1000)):
            client.delete(key)
    stack.sql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def redis_client(settings: Settings) -> Iterator[redis.Redis]:
    """A client whose answers are bytes."""
    with redis.Redis.from_url(settings.redis_url) as client:
        yield client


@pytest.fixture
def engine(settings: Settings) -> Iterator[sqlalchemy.Engine]:
    """An engine on this test's database."""
    from schemas.database import make_engine

    engine = make_engine(settings)
    yield engine
    engine.dispose()


def environment(settings: Settings | None = None, **more: str) -> dict[str, str]:
    """The environment of a child process that works with these settings."""
    given = settings.model_dump(exclude_unset=True) if settings else {}
    return {
        **os.environ,
        **{f"FENLIU_{name.upper()}": str(value) for name, value in given.items()},
        **more,
        "PYTHONUNBUFFERED": "1",
    }


def fenliu_command(*arguments: str) -> list[str]:
    """`fenliu …` as a command line that needs no PATH."""
    return [sys.executable, "-m", "fenliu", *arguments]


@pytest.fixture
def fenliu(settings: Settings) -> Fenliu:
    """Run `fenliu …` with this test's settings: `fenliu("routes", "show", input="…")`. Does not raise on exit codes."""

    def run(
        *arguments: str, input: str | bytes | None = None, timeout_s: float = 120, **more: str
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            fenliu_command(*arguments),
            input=input.encode() if isinstance(input, str) else input,
            stdin=None if input is not None else subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            cwd=ROOT,
            env=environment(settings, **more),
            check=False,
        )
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode(errors="replace")
        )

    return run
