"""What the sessions that share one tally have run so far, for metrics: how often, how much, how much of it padding."""

from __future__ import annotations

import threading
from typing import NamedTuple


class Runs(NamedTuple):
    """Totals. `sequences`: windows of texts, and pairs of a text and a label; `padding_tokens`: beside `tokens`."""

    runs: int = 0
    sequences: int = 0
    tokens: int = 0
    padding_tokens: int = 0


class RunTally:
    """Counts that only grow. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs = Runs()

    def ran(self, sequences: int, tokens: int, padding_tokens: int) -> None:
        """One run is over, of so many sequences."""
        with self._lock:
            before = self._runs
            self._runs = Runs(
                before.runs + 1,
                before.sequences + sequences,
                before.tokens + tokens,
                before.padding_tokens + padding_tokens,
            )

    def read(self) -> Runs:
        """The totals at this moment."""
        return self._runs
