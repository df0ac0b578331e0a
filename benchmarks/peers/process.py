"""A peer's process: started with a log of its own, waited for, stopped with all its children."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peers.environments import ROOT
from schemas.errors import SetupError

START_S = 120.0
_STOP_S = 15
_LOG_LINES = 8


@contextmanager
def launched(
    command: Sequence[str], log: Path, variables: Mapping[str, str], folder: Path = ROOT, *, talks: bool = False
) -> Iterator[subprocess.Popen[str]]:
    """A process in a group of its own, with its standard input and output as pipes if it `talks`."""
    environment = os.environ | {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"} | dict(variables)
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(  # noqa: S603 - ours
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
            stdout=subprocess.PIPE if talks else file,
            stderr=file,
            text=True,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[str], log: Path) -> None:
    """Wait until a process is ready. Raises SetupError with the end of its log if it ends or takes too long."""
    until_s = time.monotonic() + START_S
    while not ready():
        if process.poll() is not None or time.monotonic() > until_s:
            lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
            raise SetupError(f"it does not start: {' / '.join(lines[-_LOG_LINES:])}")
        time.sleep(0.1)
