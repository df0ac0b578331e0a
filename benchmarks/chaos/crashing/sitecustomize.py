"""Makes a worker process crash on a marker: on the PYTHONPATH of a `fenliu worker`, Python imports it at the start.

A read of address 0 inside the run, as a fault in a native library would be: no exception, no cleanup, SIGSEGV.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

_VARIABLE = "FENLIU_CHAOS_CRASHING_ID"


def _install(crashing_id: int) -> None:
    from worker.inference.engine import Engine

    run_padded: Any = Engine._run_padded

    def run_or_crash(engine: Any, sequences: Any, first_tokens: Any) -> Any:
        if any((sequence == crashing_id).any() for sequence in sequences):
            ctypes.string_at(0)
        return run_padded(engine, sequences, first_tokens)

    setattr(Engine, run_padded.__name__, run_or_crash)


if _VARIABLE in os.environ and "worker" in sys.orig_argv:
    _install(int(os.environ[_VARIABLE]))
