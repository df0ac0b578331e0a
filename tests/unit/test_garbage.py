"""A worker's process looks for garbage seldom, and still finds it."""

from __future__ import annotations

import subprocess
import sys

_STORY = """
import gc, weakref
from worker.garbage import YOUNG_OBJECTS, settle_down

class Knot:
    def __init__(self):
        self.itself = self

# Given a process that has settled down
settle_down()
frozen = gc.get_freeze_count()
# when it makes garbage in a cycle, and many objects after it
gone = weakref.ref(Knot())
kept = [[] for _ in range(YOUNG_OBJECTS // 2)]
early = gone() is None
kept += [[] for _ in range(YOUNG_OBJECTS)]
# then what was there is never looked at, and the cycle is gone in time
print(frozen > 1_000, early, gone() is None)
"""


def test_what_was_there_stays_and_new_garbage_goes() -> None:
    done = subprocess.run([sys.executable, "-c", _STORY], capture_output=True, text=True, check=True)
    assert "True False True" == done.stdout.strip()
