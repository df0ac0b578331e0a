"""The reply stream of one client: which reply is whose. Reading it is `producers.readers`'.

A reply can be read before the answer to the XADD that it belongs to: while something is being sent, replies
that nobody waits for yet are kept; otherwise they are late, and dropped.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from schemas.errors import FenliuError
from schemas.names import Keys

KEPT_EARLY = 10_000

Fields = Mapping[Any, Any]


class Waiting(Protocol):
    """A future, of asyncio or of threads."""

    def done(self) -> bool:
        """Whether it has a result, an error, or has been cancelled."""

    def set_result(self, result: Any, /) -> None:
        """Give it the reply's fields."""

    def set_exception(self, error: BaseException, /) -> None:
        """Give it an error."""


class Mailbox:
    """Matches replies to those who wait, by entry id. Threads may share it."""

    def __init__(self, keys: Keys) -> None:
        self.stream = f"{keys.reply_prefix}{secrets.token_hex(12)}"
        self._waiting: dict[str, Waiting] = {}
        self._early: dict[str, Fields] = {}
        self._sends = 0
        self._closed: FenliuError | None = None
        self._lock = threading.Lock()

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Held while entries are sent, until `expect` has been called for each."""
        with self._lock:
            self._sends += 1
        try:
            yield
        finally:
            with self._lock:
                self._sends -= 1
                if not self._sends:
                    self._early.clear()

    def expect(self, entry_id: str, waiting: Waiting) -> None:
        """Let `waiting` have the reply to this entry, now if it is there."""
        with self._lock:
            if waiting.done():
                return
            if entry_id in self._early:
                waiting.set_result(self._early.pop(entry_id))
            elif self._closed is not None:
                waiting.set_exception(self._closed)
            else:
                self._waiting[entry_id] = waiting

    def forget(self, entry_id: str) -> None:
        """Wait no longer for this reply."""
        with self._lock:
            self._waiting.pop(entry_id, None)

    def deliver(self, replies: Iterable[tuple[str, Fields]]) -> None:
        """Hand out replies as they were read: pairs of the entry id that each names, and its fields."""
        with self._lock:
            for entry_id, fields in replies:
                waiting = self._waiting.pop(entry_id, None)
                if waiting is not None:
                    if not waiting.done():
                        waiting.set_result(fields)
                elif self._sends:
                    self._early[entry_id] = fields
                    if len(self._early) > KEPT_EARLY:
                        del self._early[next(iter(self._early))]

    def fail(self, error: FenliuError) -> None:
        """Tell all who wait that no reply will come."""
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        for each in waiting.values():
            if not each.done():
                each.set_exception(error)

    def close(self, error: FenliuError) -> None:
        """Tell all who wait, and who will, that no reply will come."""
        with self._lock:
            self._closed = error
        self.fail(error)

    def __len__(self) -> int:
        """How many replies are waited for."""
        return len(self._waiting)
