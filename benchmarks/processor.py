"""Processor time, by whose it is: a process, a Redis, all of a Postgres, a worker with both."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
from sqlalchemy import Engine
from sqlalchemy import text as sql

from benchmarks.stack import processor_s
from schemas.database import make_engine
from schemas.settings import Settings

WHOSE: Final = ("worker_s", "postgres_s", "redis_s")


@dataclass(frozen=True)
class Processors:
    """A worker and the servers it works with, all on this machine."""

    worker_pid: int
    postmaster: psutil.Process
    client: Any  # redis-py types every answer as sync-or-async

    def so_far(self) -> dict[str, float]:
        """Seconds taken so far, by WHOSE."""
        used_s = processor_s(self.worker_pid), postgres_processor_s(self.postmaster), redis_processor_s(self.client)
        return dict(zip(WHOSE, used_s, strict=True))


def on_cpu_s(pid: int) -> float:
    """Processor time of a process with one thread, as finely as the system keeps it."""
    exact = Path(f"/proc/{pid}/schedstat")
    if exact.exists():
        return int(exact.read_text().split()[0]) / 1e9
    return float(sum(psutil.Process(pid).cpu_times()[:2]))


def redis_processor_s(client: Any) -> float:
    """Processor time that Redis has taken so far."""
    about = client.info("cpu")
    return float(about["used_cpu_user"]) + float(about["used_cpu_sys"])


def postgres_processor_s(postmaster: psutil.Process) -> float:
    """Processor time that a Postgres has taken so far: the postmaster, its processes, and those that have ended."""
    while True:
        ended_s = _of_ended_s(postmaster)
        total_s = ended_s + on_cpu_s(postmaster.pid)
        try:
            total_s += sum(on_cpu_s(child.pid) for child in postmaster.children())
        except (OSError, psutil.NoSuchProcess):
            continue  # one has ended just now
        if _of_ended_s(postmaster) == ended_s:
            return total_s


def backend_pid(engine: Engine) -> int:
    """Of the server process behind the connection that this engine gives next, as long as nobody else has it."""
    with engine.connect() as connection:
        return int(connection.execute(sql("SELECT pg_backend_pid()")).scalar_one())


def postmaster_of(settings: Settings) -> psutil.Process:
    """The Postgres of these settings. Ends the program if it is no process of this machine."""
    engine = make_engine(settings)
    found = psutil.Process(backend_pid(engine)).parent()
    engine.dispose()
    if found is None:
        sys.exit("the database is no server of this machine's: its processor time cannot be told")
    return found


def _of_ended_s(process: psutil.Process) -> float:
    """Processor time of children that have ended and been waited for."""
    times = process.cpu_times()
    return float(times.children_user + times.children_system)
