"""Servers of a benchmark's own: an embedded Redis and PostgreSQL in a folder that is gone afterwards."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.settings import Settings
from worker import processes
from worker.migrate import migrate
from worker.servers import PostgresServer, RedisServer, make_sockets_folder, remove_sockets_folder


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
