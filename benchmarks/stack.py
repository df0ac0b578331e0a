"""Servers of a benchmark's own: an embedded Redis and PostgreSQL in a folder that is gone afterwards."""

from __future__ import annotations

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
        servers = RedisServer(home, sockets), PostgresServer(home, sockets)
        started = []
        try:
            for server in servers:
                process = server.launch()
                started.append(process)
                processes.wait_for(server, process)
            settings = Settings(home=home, redis_url=servers[0].url, database_url=servers[1].url)
            migrate(settings)
            yield settings
        finally:
            for process, server in zip(started, servers, strict=False):
                process.send_signal(server.stop_signal)
                process.wait(30)
            remove_sockets_folder(home, str(sockets))
