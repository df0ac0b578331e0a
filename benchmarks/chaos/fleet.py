"""Worker processes that are started again when they end, as a container's restart policy does."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.chaos.timeline import EXIT, FAULT, START, Timeline
from benchmarks.chaos.watch import Watch
from schemas.settings import Settings
from worker import processes

_LOOK_S = 0.05
_PAUSE_S = 0.5
_STOP_S = 60
_TRACEBACK = re.compile(r"Traceback \(most recent call last\)")
_FOLDER_OF_SOCKET = re.compile(r"/\S*/(?=[^\s/]*sock\b)")


@dataclass
class _Place:
    """One worker at a time; `ended_s`: since when it has none."""

    name: str
    process: subprocess.Popen[bytes]
    killed: bool = False
    ended_s: float | None = None


class Fleet:
    """`count` workers, each with a log of its own. Used as a context; at its end they drain."""

    def __init__(
        self, settings: Settings, logs: Path, timeline: Timeline, watch: Watch, *, count: int,
        environment: Mapping[str, str] | None = None, only_first: bool = False,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._logs = logs
        self._timeline = timeline
        self._watch = watch
        self.count = count
        self._environment = dict(environment or {})
        self._only_first = only_first
        self._places: list[_Place] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._started = 0
        self._supervisor = threading.Thread(target=self._supervise, name="fleet", daemon=True)

    def __enter__(self) -> Fleet:
        self._logs.mkdir(parents=True, exist_ok=True)
        self._places = [_Place(f"worker-{n}", self._start(f"worker-{n}")) for n in range(self.count)]
        self._supervisor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Drain all, and kill those that do not end."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._supervisor.join()
        for place in self._places:
            place.process.terminate()
        for place in self._places:
            try:
                place.process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._timeline.note(EXIT, place.name, "did not drain")
                processes.kill_family(place.process.pid)
                place.process.wait()

    def kill(self, number: int) -> bool:
        """SIGKILL of one worker; whether it lived."""
        with self._lock:
            place = self._places[number % len(self._places)]
            if place.process.poll() is not None:
                return False
            place.killed = True
            place.process.kill()
            place.process.wait()
            self._timeline.note(FAULT, place.name, "SIGKILL")
            self._watch.died(place.process.pid)
            return True

    def pids(self) -> list[int]:
        """Of the workers that there are now, or were until a moment ago."""
        return [place.process.pid for place in self._places]

    def freeze(self, number: int, seconds: float) -> None:
        """SIGSTOP one worker and let it go on later; returns then."""
        place = self._places[number % len(self._places)]
        process = place.process
        self._timeline.note(FAULT, place.name, f"frozen for {seconds:.1f} s")
        process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        process.send_signal(signal.SIGCONT)

    def tracebacks(self) -> list[str]:
        """The last line of every traceback in the logs, each once, sockets without the folder that they were in."""
        found: dict[str, None] = {}
        for log in sorted(self._logs.glob("worker-*.log")):
            for part in _TRACEBACK.split(log.read_text(encoding="utf-8", errors="replace").replace("\\n", "\n"))[1:]:
                lines = [line for line in part.splitlines()[1:] if line and not line.startswith((" ", "\t"))]
                found[_FOLDER_OF_SOCKET.sub("", (lines or ["?"])[0])[:200]] = None
        return list(found)

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        self._started += 1
        environment = os.environ | processes.environment(self._settings) | {"FENLIU_LOG_LEVEL": "WARNING"}
        more = {} if self._only_first and name != "worker-0" else self._environment
        with (self._logs / f"{name}-{self._started:03}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "fenliu", "worker"],
                env=environment | more,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._timeline.note(START, name)
        return process

    def _supervise(self) -> None:
        while not self._stopping.wait(_LOOK_S):
            with self._lock:
                for place in self._places:
                    self._look_after(place)

    def _look_after(self, place: _Place) -> None:
        code = place.process.poll()
        if code is None:
            return
        if place.ended_s is None:
            place.ended_s = time.monotonic()
            if not place.killed:
                self._timeline.note(EXIT, place.name, f"ended by itself, exit code {code}")
        elif time.monotonic() - place.ended_s >= _PAUSE_S:
            place.process, place.killed, place.ended_s = self._start(place.name), False, None
