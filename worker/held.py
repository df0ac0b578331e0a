"""What this process holds of the inbox right now: read or claimed, not yet settled. Thread-safe.

The pulse refreshes what is held and watches how long the model has been at it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence

from schemas.messages import RawEntry
from schemas.names import Lane

Key = tuple[Lane, str]


class Held:
    """Entries in hand, and since when each slot has been in the model."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._refreshing = threading.Lock()
        self._entries: dict[Key, RawEntry] = {}
        self._sure_s: dict[Key, float] = {}  # when each was pending for certain
        self._lost: set[Key] = set()
        self._in_model_since: dict[int, float] = {}

    def add(self, entries: Sequence[RawEntry]) -> None:
        """These are in hand from now on."""
        added = {(entry.lane, entry.entry_id): entry for entry in entries}
        with self._lock:
            self._entries.update(added)
            self._sure_s.update(dict.fromkeys(added, time.monotonic()))
            self._lost.difference_update(added)

    def remove(self, entries: Sequence[RawEntry]) -> None:
        """These are settled or given back."""
        with self._lock:
            for entry in entries:
                key = entry.lane, entry.entry_id
                self._entries.pop(key, None)
                self._sure_s.pop(key, None)
                self._lost.discard(key)

    def refresh(self, refresh: Callable[[Sequence[RawEntry]], Collection[Key]]) -> int:
        """Refresh all that is in hand; how many that is. `refresh` tells which of them are still pending."""
        with self._refreshing:
            entries = self.entries()
            if entries:
                begun_s = time.monotonic()
                pending = refresh(entries)
                with self._lock:
                    for key in self._entries.keys() & {(entry.lane, entry.entry_id) for entry in entries}:
                        if key in pending:
                            self._sure_s[key] = begun_s
                        else:
                            self._lost.add(key)
            return len(entries)

    def unsure(self, entries: Sequence[RawEntry], after_s: float) -> bool:
        """Whether somebody else may have settled one of these.

        It had another consumer before, who may go on with it, or it has not been refreshed for `after_s`.
        """
        since_s = time.monotonic() - after_s
        with self._lock:
            return any(
                entry.deliveries > 1 or self._sure_s.get((entry.lane, entry.entry_id), since_s) < since_s
                for entry in entries
            )

    def lost(self, entries: Sequence[RawEntry]) -> set[Key]:
        """Those of these that were no longer pending when they were last refreshed: settled by others, or erased."""
        with self._lock:
            return self._lost.intersection((entry.lane, entry.entry_id) for entry in entries)

    def let_go(self, entries: Sequence[RawEntry]) -> None:
        """`remove` what is to be given back: no refresh, begun before, takes it in hand again afterwards."""
        with self._refreshing:
            self.remove(entries)

    def holds(self, lane: Lane, entry_id: str) -> bool:
        """Whether this entry is in hand."""
        with self._lock:
            return (lane, entry_id) in self._entries

    def entries(self) -> list[RawEntry]:
        """All that is in hand."""
        with self._lock:
            return list(self._entries.values())

    @contextlib.contextmanager
    def in_model(self) -> Iterator[None]:
        """While the calling thread is in the model."""
        thread = threading.get_ident()
        with self._lock:
            self._in_model_since[thread] = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                del self._in_model_since[thread]

    def progressed(self) -> None:
        """The calling thread is in the model and got on with it."""
        with self._lock:
            if threading.get_ident() in self._in_model_since:
                self._in_model_since[threading.get_ident()] = time.monotonic()

    def longest_in_model_s(self) -> float:
        """How long the slowest slot has been in the model without progress; 0 when none is in it."""
        with self._lock:
            since = min(self._in_model_since.values(), default=None)
        return 0.0 if since is None else time.monotonic() - since
