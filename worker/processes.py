"""Processes that outlive their parent's crash: starting them, recognising them later, and stopping them.

A pid alone is no name: the system gives it to someone else. A process is told by its pid and its start time.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import psutil

from schemas.errors import SetupError
from schemas.settings import Settings
from schemas.stack import Recorded
from worker.account import Account

_SAME_START_S = 0.5
_POLL_S = 0.02
_TAIL_BYTES = 1_500
_MAX_LOG_BYTES = 20_000_000


class Service(Protocol):
    """A process that is started, answers when it is ready, and stops when asked by its signal."""

    name: str
    log: Path
    stop_signal: signal.Signals
    start_s: float
    stop_s: float

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the process; it does not answer yet. Raises SetupError."""
        ...

    def answers(self) -> bool:
        """Whether it is ready for work."""
        ...


def spawn(
    command: Sequence[str],
    cwd: Path,
    log: Path,
    account: Account | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, so that a terminal's Ctrl-C reaches only the supervisor."""
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > _MAX_LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
    with log.open("ab") as output:
        try:
            return subprocess.Popen(  # noqa: S603 - our own binaries and options
                command,
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **(account.popen_arguments() if account else {}),
            )
        except OSError as error:
            raise SetupError(f"cannot start {command[0]}: {error.strerror or error}") from error


def environment(settings: Settings) -> dict[str, str]:
    """Our own environment for a child, with what `settings` say, wherever that came from."""
    given = settings.model_dump(exclude_defaults=True) | {"home": settings.home.absolute()}
    return {**os.environ, **{f"FENLIU_{name.upper()}": str(value) for name, value in given.items()}}


def wait_for(service: Service, process: subprocess.Popen[bytes], cancelled: Callable[[], bool] = lambda: False) -> None:
    """Return when the service answers, or `cancelled()`.

    Raises SetupError with the end of the log if the process ends first or its time to start is up.
    """
    deadline = time.monotonic() + service.start_s
    while not cancelled():
        if process.poll() is not None:
            problem = f"{service.name} ended while it started (exit code {process.returncode})"
        elif service.answers():
            return
        elif time.monotonic() > deadline:
            problem = f"{service.name} was not ready after {service.start_s:g} s"
        else:
            time.sleep(_POLL_S)
            continue
        raise SetupError(f"{problem}; the end of {service.log}:\n{tail(service.log)}")


def tail(log: Path) -> str:
    """The last lines of a log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            return file.read().decode("utf-8", "replace").strip()
    except OSError:
        return ""


def record(pid: int) -> Recorded:
    """How to recognise a living process later. Raises ProcessLookupError if it has ended."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        # Fields are counted from behind the name, which may hold anything. The 22nd is the start in clock ticks.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return Recorded(pid, int(fields[19]) / os.sysconf("SC_CLK_TCK"), boot)
    except FileNotFoundError:
        pass  # not Linux, or the process is gone: psutil tells which
    try:
        return Recorded(pid, psutil.Process(pid).create_time(), "")
    except psutil.NoSuchProcess:
        raise ProcessLookupError(pid) from None


def find(recorded: Recorded) -> psutil.Process | None:
    """The process if it still lives and is not another one with the same pid."""
    try:
        now = record(recorded.pid)
        process = psutil.Process(recorded.pid)
        alive = process.status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, ProcessLookupError):
        return None
    same = now.boot == recorded.boot and abs(now.started_s - recorded.started_s) < _SAME_START_S
    return process if alive and same else None


def stop(recorded: Recorded, ask: signal.Signals, patience_s: float) -> bool:
    """Ask a process to stop, wait, then kill it and what it started. True if it went when asked."""
    process = find(recorded)
    if process is None:
        return True
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(ask)
    if gone(process, patience_s):
        return True
    kill_family(process.pid)
    gone(process, 5.0)
    return False


def kill_family(pid: int) -> None:
    """Kill a process and all that it started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for member in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()


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
