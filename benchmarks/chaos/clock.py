"""Clocks of workers that are set an hour ahead and back while they work. The machine's own clock stays as it is.

Done by libfaketime (Debian: package faketime), which answers for the system when a process asks for the time of day.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks.chaos.place import place
from benchmarks.chaos.scenario import Result, Size
from benchmarks.chaos.timeline import FAULT
from benchmarks.chaos.traffic import Traffic, items

MINUTES = 0.75
ITEMS = 15_000
BURST = 300
STEPS_S = (3_600, 0, -3_600, 0)
_PLACES = ("usr/lib/*/faketime", "usr/lib*/faketime", "usr/local/lib/faketime")


def run(size: Size) -> Result:
    """One worker of two has a clock that is set forward and back; skipped where libfaketime is missing."""
    library = _library()
    if library is None:
        return {"checks": {}, "skipped": "libfaketime is not installed (Debian: package faketime)"}
    seconds, rng = size.seconds(MINUTES), size.rng("clock")
    count = size.items or size.part(ITEMS, MINUTES)
    with tempfile.TemporaryDirectory(prefix="fl-") as folder:
        step = Path(folder) / "faketime"
        step.write_text("+0\n", encoding="ascii")
        faked = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(step),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
        with place(size, environment=faked, only_first=True) as here, Traffic(here.seen, count, seconds) as traffic:
            until_s, number = time.monotonic() + seconds, 0
            while time.monotonic() < until_s:
                traffic.burst(BURST)
                time.sleep(rng.uniform(0, 0.5))
                step_s = STEPS_S[number % len(STEPS_S)]
                step.write_text(f"{step_s:+d}\n", encoding="ascii")
                here.timeline.note(FAULT, "worker-0", f"its clock is {step_s:+d} s off")
                number += 1
                time.sleep(rng.uniform(2, 6))
            traffic.finish()
            here.wait_until_empty()
            return here.result(items(count))


def _library() -> Path | None:
    found = [path for folder in _PLACES for path in Path("/").glob(f"{folder}/libfaketimeMT.so.1")]
    return found[0] if found else None
