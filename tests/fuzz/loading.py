"""A process that loads model folders and asks them, so that one which kills it kills no test.

`python -m tests.fuzz.loading` reads a folder a line and answers a JSON object a line.
"""

from __future__ import annotations

import json
import os
import resource
import select
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import ROOT, environment

MEMORY_BYTES = 3 * 1024**3
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Answer:
    """`end`: loaded, refused (a ModelError), failed (an InferenceError after loading), wrong (another error), or how
    the process ended. `said`: the error's message. `peak_mb`: the process's peak so far."""

    end: str
    said: str
    took_s: float
    peak_mb: float = 0.0


class Loader:
    """The process, begun again when it has died. To be closed."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[str] | None = None

    def load(self, folder: Path) -> Answer:
        """What becomes of it."""
        child = self._child or self._start()
        begun_s = time.monotonic()
        assert child.stdin
        assert child.stdout
        child.stdin.write(f"{folder}\n")
        child.stdin.flush()
        readable, _, _ = select.select([child.stdout], [], [], TIMEOUT_S)
        line = child.stdout.readline() if readable else ""
        took_s = time.monotonic() - begun_s
        if line:
            return Answer(**json.loads(line), took_s=took_s)
        if not readable:
            child.kill()
        ended = child.wait()
        self.close()
        return Answer("died" if readable else "hung", f"exit status {ended}", took_s)

    def _start(self) -> subprocess.Popen[str]:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.loading"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, cwd=ROOT, env=environment(),
        )  # fmt: skip
        return self._child

    def close(self) -> None:
        """End it."""
        if self._child is not None:
            child, self._child = self._child, None
            child.kill()
            child.communicate()


def _main() -> None:
    from schemas.errors import InferenceError, ModelError

    # Libraries write to what they take for the console.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        try:
            _ask(Path(line.strip()))
            end, said = "loaded", ""
        except ModelError as error:
            end, said = "refused", str(error)
        except InferenceError as error:
            end, said = "failed", str(error)
        except BaseException as error:  # noqa: BLE001 - which one is what the test asks
            import traceback

            end, said = "wrong", f"{type(error).__name__}: {error} {traceback.extract_tb(error.__traceback__)[-4:]}"
        print(json.dumps({"end": end, "said": said[:2_000], "peak_mb": _peak_mb()}), file=answers, flush=True)


def _peak_mb() -> float:
    """The largest resident memory so far; 0 where the system does not say. `ru_maxrss` begins with the parent's."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


def _ask(folder: Path) -> None:
    """Load it; a model that loads is asked for all it can do."""
    from schemas.labels import label_set
    from schemas.names import Task
    from worker.inference.classifier import Classifier, Job

    classifier = Classifier.load(folder, run_tokens=64)
    tasks = classifier.manifest.tasks
    labels: Any = None
    if Task.ROUTING in tasks:
        labels = classifier.prepare(label_set({"物流": "太慢", "退款": {"examples": ["退款"]}, "hell": None}))
    jobs = [Job(text, Task.SENTIMENT in tasks, labels) for text in ("物流太慢", "", "hell " * 30, "[SEP]</s>")]
    for result in classifier.classify(jobs):
        for scores in (result.sentiment, result.routing):
            assert scores is None or all(0 <= score <= 1 for score in scores.scores.values()), scores


if __name__ == "__main__":
    _main()
