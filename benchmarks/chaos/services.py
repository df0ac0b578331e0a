"""A Redis that writes through at every command and a PostgreSQL, made to be killed, frozen and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time

import psutil

from benchmarks.chaos.timeline import DOWN, UP, Timeline
from schemas.errors import SetupError
from worker import processes
from worker.servers import PostgresServer, RedisServer

_TRIES = 20
_STOP_S = 60


class Service:
    """One of the two, and what may be done to it. What is done is noted."""

    def __init__(self, server: RedisServer | PostgresServer, timeline: Timeline) -> None:
        self.server = server
        self.name = server.name
        self._timeline = timeline
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start it and wait until it answers. What is left of one that was killed may be in the way for a moment."""
        for left in reversed(range(_TRIES)):
            self._process = self.server.launch()
            try:
                processes.wait_for(self.server, self._process)
            except SetupError:
                if not left:
                    raise
                time.sleep(0.2)
            else:
                return

    def kill(self, away_s: float) -> None:
        """SIGKILL; it comes back after `away_s`."""
        self._stop(signal.SIGKILL, away_s, "SIGKILL")

    def restart(self, away_s: float, ask: signal.Signals | None = None) -> None:
        """Stop it in order, by its own signal or by `ask`; it comes back after `away_s`."""
        number = ask or self.server.stop_signal
        self._stop(number, away_s, number.name)

    def freeze(self, seconds: float) -> None:
        """SIGSTOP to all its processes: connections stay open and nobody answers."""
        with self._lock:
            family = self._family()
            self._timeline.note(DOWN, self.name, f"frozen for {seconds:.1f} s")
            for process in family:
                process.suspend()
            time.sleep(seconds)
            for process in family:
                process.resume()
            self._timeline.note(UP, self.name)

    def end(self) -> None:
        """Stop it for good."""
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(self.server.stop_signal)
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                processes.kill_family(process.pid)
                process.wait()

    def _stop(self, number: signal.Signals, away_s: float, how: str) -> None:
        with self._lock:
            if self._process is None:
                return
            self._timeline.note(DOWN, self.name, how)
            os.kill(self._process.pid, number)
            self._process.wait(_STOP_S)
            time.sleep(away_s)
            self.start()
            self._timeline.note(UP, self.name)

    def _family(self) -> list[psutil.Process]:
        if self._process is None:
            return []
        head = psutil.Process(self._process.pid)
        return [head, *head.children(recursive=True)]
