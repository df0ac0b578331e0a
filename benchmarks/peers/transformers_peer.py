"""The other end of `apps.transformers_pipeline`: the pipeline in PyTorch, one text a call and in batches of 32.

A call goes through a pipe to a process of its own, which costs a fraction of a millisecond; nothing is queued or
written.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.peers.environments import python
from benchmarks.peers.peer import Peer, Worked
from benchmarks.peers.process import launched, wait_until
from schemas.errors import SetupError
from schemas.settings import Settings

BATCH_TEXTS = 32


@contextmanager
def transformers_peer(settings: Settings, model: Path) -> Iterator[Callable[[], list[Peer]]]:
    """The process with the pipeline; what is yielded waits until it has loaded the model."""
    command = [python("transformers"), "-m", "benchmarks.peers.apps.transformers_pipeline", str(model)]
    log = settings.home / "transformers.log"
    with launched(command, log, {}, talks=True) as process:

        def ready() -> list[Peer]:
            if not _line(process):
                wait_until(lambda: False, process, log)
            return [
                Peer(name, process.pid, partial(_work, process, size), partial(_ask, process, size), writes_rows=False)
                for name, size in (("transformers-1", 1), ("transformers-32", BATCH_TEXTS))
            ]

        yield ready


def _work(process: subprocess.Popen[str], size: int, texts: Sequence[str]) -> Worked:
    started = time.perf_counter()
    labels = _call(process, size, texts)
    return Worked(time.perf_counter() - started, labels)


def _ask(process: subprocess.Popen[str], size: int, text: str) -> str:
    return _call(process, size, [text])[0]


def _call(process: subprocess.Popen[str], size: int, texts: Sequence[str]) -> list[str]:
    if process.stdin is None:
        raise SetupError("the pipeline's process has no input")
    process.stdin.write(json.dumps({"texts": list(texts), "batch_size": size}) + "\n")
    process.stdin.flush()
    line = _line(process)
    if not line:
        raise SetupError("the pipeline's process ended: nothing was measured")
    labels: list[str] = json.loads(line)
    return labels


def _line(process: subprocess.Popen[str]) -> str:
    return process.stdout.readline() if process.stdout else ""
