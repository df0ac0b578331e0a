"""What `fenliu up` runs beside its servers: `fenliu worker` and `fenliu beat`, as child processes.

The servers themselves are `worker.servers`', starting and stopping is `worker.supervisor`'s.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from subprocess import Popen

from schemas.settings import Settings
from worker import processes


class WorkerService:
    """`fenliu worker`; ready when its heartbeat is in Redis."""

    name = "worker"
    stop_signal = signal.SIGTERM
    start_s = 120.0

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.log = settings.home / "logs" / "worker.log"
        self.stop_s = settings.drain_timeout_s + 10
        self._pid = 0

    def launch(self) -> Popen[bytes]:
        """Start the process with these settings. Raises SetupError."""
        process = _spawn(self._settings, self.name, self.log)
        self._pid = process.pid
        return process

    def answers(self) -> bool:
        """Whether its heartbeat is there."""
        from worker.inbox import connect
        from worker.pulse import workers

        with connect(self._settings) as client:
            return any(worker.get("pid") == str(self._pid) for worker in workers(client, self._settings.keys))


class BeatService:
    """`fenliu beat`; nobody waits for it."""

    name = "beat"
    stop_signal = signal.SIGTERM
    start_s = 30.0
    stop_s = 10.0

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.log = settings.home / "logs" / "beat.log"

    def launch(self) -> Popen[bytes]:
        """Start the process with these settings. Raises SetupError."""
        return _spawn(self._settings, self.name, self.log)

    def answers(self) -> bool:
        """It has nothing to answer: schedules that are due wait until it ticks."""
        return True


def _spawn(settings: Settings, command: str, log: Path) -> Popen[bytes]:
    project = Path(__file__).resolve().parent.parent
    environment = processes.environment(settings)
    return processes.spawn([sys.executable, "-m", "fenliu", command], project, log, None, environment)
