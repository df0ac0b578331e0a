"""How a worker's process looks for garbage in cycles: seldom, and never in what it loaded to begin with.

Entries, outcomes and rows have no cycles and go when nobody holds them. But making thousands of them again and again
has Python look through all that a process holds, modules and all: a quarter of the processor time per item went there.
"""

from __future__ import annotations

import gc
from typing import Final

YOUNG_OBJECTS: Final = 20_000
"""New objects between two looks: several batches' worth, some MB; Python's own 700 are a small part of one."""


def settle_down() -> None:
    """What is there now stays. For a process that has loaded all it needs and now works on."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)
