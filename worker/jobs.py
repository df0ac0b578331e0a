"""Long jobs that a worker starts beside itself: processes of their own, which take no slot and no lock of Python.

They write to a log under the home, are collected when they end, and end with their worker; the tick of another
worker starts again what must go on.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import structlog

from schemas.errors import SetupError
from schemas.settings import Settings
from worker import processes
from worker.desk.schedules import Launch

log = structlog.get_logger(__name__)


class Jobs:
    """The jobs of one worker process. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._running: dict[int, tuple[Launch, subprocess.Popen[bytes]]] = {}
        self._ended = False

    def start(self, launch: Launch) -> bool:
        """Run `fenliu …` beside us, logging to `home/logs`; whether it could be started."""
        path = self._settings.home.absolute() / "logs" / f"{launch.log}.log"
        project = Path(__file__).resolve().parent.parent
        command = [sys.executable, "-m", "worker.job_process", str(os.getpid()), *launch.arguments]
        with self._lock:
            if self._ended:
                return False
            try:
                process = processes.spawn(command, project, path, None, processes.environment(self._settings))
            except (SetupError, OSError) as error:
                log.error("job_not_started", job=launch.log, reason=str(error))
                return False
            self._running[process.pid] = launch, process
        threading.Thread(target=self._collect, args=(launch, process), name=f"job {launch.log}", daemon=True).start()
        log.info("job_started", job=launch.log, pid=process.pid, log=str(path))
        return True

    def end(self) -> list[Launch]:
        """Kill what runs and start no more; what was killed. Each job is made to be cut off anywhere and to go on."""
        with self._lock:
            self._ended = True
            for _, process in self._running.values():
                process.kill()
            return [launch for launch, _ in self._running.values()]

    def _collect(self, launch: Launch, process: subprocess.Popen[bytes]) -> None:
        """Wait for a job, so that it does not stay as a zombie."""
        code = process.wait()
        with self._lock:
            del self._running[process.pid]
        log.info("job_ended", job=launch.log, pid=process.pid, exit_code=code)
