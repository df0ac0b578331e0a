"""Child processes that outlive their parent's crash: recognising them later, and stopping them.

A pid alone is no name: the system gives it to someone else. A process is told by its pid and its start time.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable

import psutil

from schemas.errors import SetupError
from schemas.stack import Recorded

Probe = Callable[[], bool]

_START_TOLERANCE_S = 2.0  # the kernel's boot time, from which start times are counted, moves with the clock
_POLL_S = 0.02


def record(pid: int) -> Recorded:
    """How to recognise a living process later."""
    return Recorded(pid, psutil.Process(pid).create_time())


def find(recorded: Recorded) -> psutil.Process | None:
    """The process if it still lives and is not another one with the same pid."""
    try:
        process = psutil.Process(recorded.pid)
        same = abs(process.create_time() - recorded.started_at_s) < _START_TOLERANCE_S
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def stop(recorded: Recorded, ask: signal.Signals, patience_s: float) -> bool:
    """Ask a process to stop, wait, then kill it and what it started. True if it went when asked."""
    process = find(recorded)
    if process is None:
        return True
    family = _family(process)
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(ask)
    if gone(process, patience_s):
        return True
    for member in [process, *family]:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    gone(process, 5.0)
    return False


def gone(process: psutil.Process, patience_s: float) -> bool:
    """Whether a process that need not be our child ends within `patience_s`."""
    deadline = time.monotonic() + patience_s
    while _alive(process):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _alive(process: psutil.Process) -> bool:
    _reap(process.pid)
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _reap(pid: int) -> None:
    """Collect the process if it is our own child, so that it does not stay as a zombie."""
    with contextlib.suppress(ChildProcessError, OSError):
        os.waitpid(pid, os.WNOHANG)


def _family(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def wait_until(ready: Probe, process: subprocess.Popen[bytes], what: str, patience_s: float) -> None:
    """Return when `ready()` is true. Raises SetupError if the process ends first or time is up."""
    deadline = time.monotonic() + patience_s
    while not ready():
        if process.poll() is not None:
            raise SetupError(f"{what} ended while it started (exit code {process.returncode})")
        if time.monotonic() > deadline:
            raise SetupError(f"{what} was not ready after {patience_s:g} s")
        time.sleep(_POLL_S)
