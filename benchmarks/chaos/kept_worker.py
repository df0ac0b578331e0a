"""A worker process that is started again when it ends, as compose and `fenliu up` do, and killed at a memory limit.

Why it ended is kept: that is what a scenario tells of.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil
import redis

from schemas.settings import Settings
from worker import processes
from worker.pulse import workers

PAUSE_S: Final = 0.5
_LOOK_S: Final = 0.05
_READY_S: Final = 120.0
_STOP_S: Final = 60.0


@dataclass(frozen=True)
class End:
    """One end of a worker process: when, by the monotonic clock, and its exit code (-9: killed, for its memory)."""

    at_s: float
    code: int


@dataclass
class KeptWorker:
    """`ends` grows while it runs; `peak_bytes` is the most memory that was seen."""

    settings: Settings
    log: Path
    environment: Mapping[str, str]
    limit_bytes: int
    ends: list[End] = field(default_factory=list)
    peak_bytes: int = 0

    def __post_init__(self) -> None:
        self._stopping = threading.Event()
        self._process = self._started()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        return self._process.pid

    def start(self) -> None:
        """Look after it from now on, and wait for its first heartbeat. Raises TimeoutError."""
        self._thread.start()
        until_s = time.monotonic() + _READY_S
        with redis.Redis.from_url(self.settings.redis_url) as client:
            while not workers(client, self.settings.keys):
                if time.monotonic() > until_s:
                    raise TimeoutError(f"no worker is ready; see {self.log}")
                time.sleep(_LOOK_S)

    def stop(self) -> None:
        """Ask it to stop, and wait for it."""
        self._stopping.set()
        self._thread.join(_STOP_S)
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_STOP_S)

    def _started(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "fenliu", "worker"],
                env=processes.environment(self.settings) | dict(self.environment),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _keep(self) -> None:
        while not self._stopping.wait(_LOOK_S):
            code = self._process.poll()
            if code is not None:
                self.ends.append(End(time.monotonic(), code))
                if not self._stopping.wait(PAUSE_S):
                    self._process = self._started()
                continue
            try:
                used_bytes = psutil.Process(self._process.pid).memory_info().rss
            except psutil.NoSuchProcess:
                continue
            self.peak_bytes = max(self.peak_bytes, used_bytes)
            if used_bytes > self.limit_bytes:  # what the kernel does to a container over its limit
                self._process.kill()


@contextmanager
def kept_worker(
    settings: Settings, log: Path, *, environment: Mapping[str, str] | None = None, limit_bytes: int = 1 << 40
) -> Iterator[KeptWorker]:
    """A worker that is ready, and stopped at the end."""
    worker = KeptWorker(settings, log, {"FENLIU_LOG_LEVEL": "INFO"} | dict(environment or {}), limit_bytes)
    try:
        worker.start()
        yield worker
    finally:
        worker.stop()


def path_with(folder: Path) -> str:
    """PYTHONPATH with this folder before what is in it."""
    return os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))
