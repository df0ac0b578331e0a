"""Whose turn it is: live before bulk, but bulk gets at least its share of the entries."""

from __future__ import annotations

import threading
from collections.abc import Callable

from schemas.names import Lane

_ROUNDING = 1e-6  # ten times a tenth must make one


class Share:
    """Counts what bulk is owed, in entries. All slots and the collector of a worker ask the same one; thread-safe."""

    def __init__(self, bulk_share: float, most_owed_entries: Callable[[], int]) -> None:
        """What bulk does not use is not saved up: at most `most_owed_entries` are owed, which live waits for when bulk
        begins; a few portions, so that one is never too large to be owed."""
        self._bulk_share = bulk_share
        self._most_owed = most_owed_entries
        self._owed = 0.0
        self._lock = threading.Lock()

    def bulk_first(self, entries: int) -> bool:
        """Whether so many bulk entries come before whatever live entries wait."""
        most_owed = self._most_owed()
        with self._lock:
            return self._owed >= min((1 - self._bulk_share) * entries, most_owed) - _ROUNDING

    def order(self) -> tuple[Lane, Lane]:
        """The inboxes in the order to look into them."""
        return (Lane.BULK, Lane.LIVE) if self.bulk_first(1) else (Lane.LIVE, Lane.BULK)

    def taken(self, lane: Lane, entries: int) -> None:
        """So many of `lane` go into the model now."""
        most_owed = self._most_owed()
        with self._lock:
            owed = self._owed + self._bulk_share * entries - (entries if lane is Lane.BULK else 0)
            self._owed = min(most_owed, max(0.0, owed))
