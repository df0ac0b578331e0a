"""Workers as real processes, and servers of a test's own that may be killed."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis
import sqlalchemy

from schemas.database import make_engine
from schemas.names import GROUP, Lane
from schemas.routes import read_routes_file
from schemas.settings import Settings
from tests.conftest import ROOT, environment, fenliu_command
from tests.waiting import wait_for
from worker import processes, routes
from worker.migrate import migrate
from worker.servers import PostgresServer, RedisServer, make_sockets_folder, remove_sockets_folder

SAMPLE_ROUTES = ROOT / "producers" / "sample" / "routes.yaml"


@dataclass
class Workers:
    """Worker processes with one log each, all ended with the test."""

    settings: Settings
    logs: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *options: str, **more: str) -> subprocess.Popen[bytes]:
        """Start one `fenliu worker`; does not wait until it is ready."""
        log = (self.logs / f"worker-{len(self.running)}.log").open("wb")
        worker = subprocess.Popen(
            fenliu_command("worker", *options),
            cwd=ROOT,
            env=environment(self.settings, **more),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        log.close()
        self.running.append(worker)
        return worker

    def log_of(self, worker: subprocess.Popen[bytes]) -> str:
        """What this worker has printed so far."""
        return (self.logs / f"worker-{self.running.index(worker)}.log").read_text()

    def end(self) -> None:
        """Kill what still runs."""
        for worker in self.running:
            if worker.poll() is None:
                worker.send_signal(signal.SIGCONT)
                worker.kill()
            worker.wait(10)


@dataclass
class Servers:
    """A Redis and a PostgreSQL that a test may kill and start again."""

    redis: RedisServer
    postgres: PostgresServer
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, *servers: RedisServer | PostgresServer) -> None:
        """Start and wait until they answer."""
        for server in servers:
            process = server.launch()
            self.processes[server.name] = process
            processes.wait_for(server, process)

    def kill(self, server: RedisServer | PostgresServer) -> None:
        """SIGKILL, as when memory runs out."""
        self.processes[server.name].kill()
        self.processes[server.name].wait(10)

    def restart(self, server: RedisServer | PostgresServer, away_s: float = 1.0) -> None:
        """Ask it to stop, stay away a while, start again."""
        self.processes[server.name].send_signal(server.stop_signal)
        self.processes[server.name].wait(30)
        time.sleep(away_s)
        self.start(server)

    def end(self) -> None:
        """Kill what still runs."""
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
                process.wait(10)


@dataclass
class Place:
    """One Fenliu: settings, clients, and questions about what is in it."""

    settings: Settings
    client: Any
    engine: sqlalchemy.Engine
    workers: Workers

    def add(self, items: list[dict[str, str]], lane: Lane = Lane.LIVE) -> None:
        """XADD items as any producer would."""
        stream = self.settings.keys.inbox(lane)
        for at in range(0, len(items), 1000):
            pipe = self.client.pipeline(transaction=False)
            for item in items[at : at + 1000]:
                pipe.xadd(stream, item)
            pipe.execute()

    def left(self) -> tuple[int, int]:
        """Entries in both inboxes, and how many are pending."""
        total, pending = 0, 0
        for key in self.settings.keys.inboxes.values():
            total += self.client.xlen(key)
            with contextlib.suppress(redis.ResponseError):  # no group yet
                pending += self.client.xpending(key, GROUP)["pending"]
        return total, pending

    def one(self, statement: str) -> Any:
        """The one value that a query gives."""
        with self.engine.connect() as connection:
            return connection.execute(sqlalchemy.text(statement)).scalar_one()

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sqlalchemy.text(statement))]

    def wait_until_empty(self, limit_s: float = 120) -> None:
        """Wait until both inboxes are worked off."""

        def empty() -> bool:
            if all(worker.poll() is not None for worker in self.workers.running):
                pytest.fail(f"no worker runs any more: {self.workers.log_of(self.workers.running[-1])}")
            return self.left() == (0, 0)

        wait_for(empty, limit_s, "inboxes empty")

    def apply_sample_routes(self) -> None:
        """The eight teams of the shipped sample."""
        routes.apply(self.engine, read_routes_file(SAMPLE_ROUTES), "test")


def _place(settings: Settings, folder: Path) -> Iterator[Place]:
    engine = make_engine(settings)
    workers = Workers(settings, folder)
    with redis.Redis.from_url(settings.redis_url) as client:
        yield Place(settings, client, engine, workers)
    workers.end()
    engine.dispose()


@pytest.fixture
def place(settings: Settings, tmp_path: Path) -> Iterator[Place]:
    """A Fenliu on the shared servers, with quick claims."""
    yield from _place(settings.model_copy(update={"claim_idle_s": 2.0, "heartbeat_s": 0.5}), tmp_path)


@pytest.fixture
def servers() -> Iterator[Servers]:
    """Servers of this test's own, durable as in production."""
    with tempfile.TemporaryDirectory(prefix="fl-") as name:
        home = Path(name).resolve()
        (home / "run").mkdir()
        sockets = make_sockets_folder(home)
        servers = Servers(RedisServer(home, sockets), PostgresServer(home, sockets))
        try:
            servers.start(servers.redis, servers.postgres)
            yield servers
        finally:
            servers.end()
            remove_sockets_folder(home, str(sockets))


@pytest.fixture
def own_place(servers: Servers, tmp_path: Path) -> Iterator[Place]:
    """A Fenliu on servers of its own."""
    settings = Settings(
        home=tmp_path / "home",
        redis_url=servers.redis.url,
        database_url=servers.postgres.url,
        claim_idle_s=2.0,
        heartbeat_s=0.5,
    )
    migrate(settings)
    yield from _place(settings, tmp_path)


@pytest.fixture
def address(place: Place, tmp_path: Path) -> Iterator[str]:
    """`fenliu serve` on this test's servers, such as http://127.0.0.1:41234."""
    log = tmp_path / "serve.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            fenliu_command("serve", "--port", "0"), cwd=ROOT, env=environment(place.settings), stdout=file,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        wait_for(lambda: "serving on" in log.read_text() or process.poll() is not None, 60, "serve")
        found = re.search(r"serving on (http://\S+),", log.read_text())
        assert found, log.read_text()
        yield found[1]
    finally:
        process.terminate()
        process.wait(40)
