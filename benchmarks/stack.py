"""Servers and processes of a benchmark's own: Redis and PostgreSQL in a folder that is gone afterwards, a worker, and
what that worker says of itself."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import redis

from schemas.settings import Settings
from worker import processes
from worker.migrate import migrate
from worker.pulse import workers
from worker.servers import PostgresServer, RedisServer, make_sockets_folder, remove_sockets_folder

POLL_S = 0.02
LIMIT_S = 600.0
_STOP_S = 60


@contextmanager
def scratch_stack() -> Iterator[Settings]:
    """Settings on fresh, migrated servers, as durable as in production. Raises SetupError."""
    with tempfile.TemporaryDirectory(prefix="fl-") as folder:
        home = Path(folder).resolve()
        (home / "run").mkdir()
        sockets = make_sockets_folder(home)
        redis, postgres = RedisServer(home, sockets), PostgresServer(home, sockets)
        servers: list[RedisServer | PostgresServer] = [redis, postgres]
        started: list[subprocess.Popen[bytes]] = []
        try:
            for server in servers:
                started.append(server.launch())
                processes.wait_for(server, started[-1])
            settings = Settings(home=home, redis_url=redis.url, database_url=postgres.url)
            migrate(settings)
            yield settings
        finally:
            for process, server in zip(started, servers, strict=False):
                process.send_signal(server.stop_signal)
                process.wait(30)
            remove_sockets_folder(home, str(sockets))


@contextmanager
def running(settings: Settings, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """`fenliu …` as a process of its own with what these settings set; stopped at the end.

    Workers remember no texts unless the settings say so: texts that come again are to cost what they cost first.
    """
    environment = os.environ | {"FENLIU_LOG_LEVEL": "WARNING", "FENLIU_MEMORY_TEXTS": "0"} | variables(settings)
    command = [sys.executable, "-m", "fenliu", *arguments]
    # In a session of its own: a terminal's Ctrl-C reaches only us, and we stop it in good order.
    process = subprocess.Popen(command, env=environment, start_new_session=True)  # noqa: S603 - ours
    try:
        yield process
    finally:
        process.terminate()
        process.wait(_STOP_S)


def variables(settings: Settings) -> dict[str, str]:
    """The FENLIU_* variables of what is set in these settings."""
    return {f"FENLIU_{name.upper()}": str(value) for name, value in settings.model_dump(exclude_unset=True).items()}


@contextmanager
def running_worker(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process that has its first heartbeat."""
    with running(settings, "worker") as worker:
        with redis.Redis.from_url(settings.redis_url) as client:
            until(lambda: bool(workers(client, settings.keys)), worker)
        yield worker


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def counted(settings: Settings) -> dict[str, float]:
    """What the worker with these settings has counted, by series as Prometheus writes them; it needs a
    `metrics_port`. Series that differ in labels alone are also summed up under the bare name."""
    url = f"http://127.0.0.1:{settings.metrics_port}/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:
        page = answer.read().decode()
    found: dict[str, float] = {}
    for line in page.splitlines():
        if line and not line.startswith("#"):
            series, _, value = line.rpartition(" ")
            found[series] = float(value)
            if "{" in series:
                name = series.partition("{")[0]
                found[name] = found.get(name, 0.0) + float(value)
    return found


def processor_s(pid: int) -> float:
    """Processor time that a process has taken so far."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def until(condition: Callable[[], bool], process: subprocess.Popen[bytes], poll_s: float = POLL_S) -> None:
    """Wait for something that this process brings about; end the program if it never will."""
    until_s = time.monotonic() + LIMIT_S
    while not condition():
        if process.poll() is not None or time.monotonic() > until_s:
            sys.exit("a process ended or is stuck: nothing was measured")
        time.sleep(poll_s)
