"""A stack in the background: `fenliu up` as a process of its own, waited for until it is ready."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from schemas.errors import SetupError
from schemas.stack import Stack, running_stack
from worker.processes import tail

_READY_S = 300.0
_LOOK_S = 0.05
_GIVE_UP_S = 60.0


def start_detached(home: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> Stack:
    """Run `fenliu up ARGUMENTS` for `home` and return when it is ready; it goes on without us.

    Raises SetupError with the end of the log if it does not come up; whatever is raised meanwhile, Ctrl-C
    included, stops it again.
    """
    log = home / "logs" / "up.log"
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with log.open("wb") as output:
        child = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", "fenliu", "up", *arguments],
            cwd=Path(__file__).resolve().parent.parent,
            env={**environment, "FENLIU_HOME": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        stack = _wait(home, child, log)
    except BaseException:
        _stop(child)
        raise
    child.returncode = 0  # no longer ours to wait for
    return stack


def _wait(home: Path, child: subprocess.Popen[bytes], log: Path) -> Stack:
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        stack = running_stack(home)
        if stack and stack.supervisor and stack.supervisor.pid == child.pid:
            return stack
        if child.poll() is not None:
            raise SetupError(f"the stack did not start:\n{tail(log)}")
        time.sleep(_LOOK_S)
    raise SetupError(f"the stack was not ready after {_READY_S:g} s; see {log}")


def _stop(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(_GIVE_UP_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
