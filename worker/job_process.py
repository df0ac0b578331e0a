"""The process of a job: a command of `fenliu` that ends with the worker which started it, however that ends.

A worker that is killed can end nothing, and what it has started would go on beside a stack that is gone. Starting
jobs, and ending them in good order, is `worker.jobs`'.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

_LOOK_S = 1.0


def main(arguments: list[str]) -> None:
    """Run `fenliu` with `arguments` but for the first, which is the worker's pid."""
    worker = int(arguments[0])
    threading.Thread(target=_end_with, args=(worker,), name="worker watch", daemon=True).start()
    sys.argv = ["fenliu", *arguments[1:]]
    runpy.run_module("fenliu", run_name="__main__", alter_sys=True)


def _end_with(worker: int) -> None:
    # An orphan gets another parent at once. Killed, as `worker.jobs` does: the job goes on from where it was.
    while os.getppid() == worker:
        time.sleep(_LOOK_S)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
