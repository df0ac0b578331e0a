"""Backpressure: how much room an inbox has, as far as is known, and how long a call still waits for it."""

from __future__ import annotations

import time

from schemas.errors import FenliuError, InboxFullError
from schemas.names import Lane


class Patience:
    """How long one call still waits, with growing pauses. None: for ever."""

    def __init__(self, wait_s: float | None) -> None:
        self._until = None if wait_s is None else time.monotonic() + wait_s
        self._pause_s = 0.02

    def pause_s(self, error: FenliuError) -> float:
        """How long to pause before the next try; raises `error` when the time is up."""
        left_s = self._pause_s if self._until is None else self._until - time.monotonic()
        if left_s <= 0:
            raise error
        pause_s = min(self._pause_s, left_s)
        self._pause_s = min(self._pause_s * 1.5, 0.5)
        return pause_s


class Room:
    """The inboxes' lengths by the last answers of Redis, against the bound."""

    def __init__(self, inbox_bound: int) -> None:
        self._inbox_bound = inbox_bound
        self._lengths: dict[Lane, int] = {}

    def left(self, lane: Lane) -> int:
        """Entries that the inbox has room for. Not positive: full or not known, so ask Redis."""
        return self._inbox_bound - self._lengths.get(lane, self._inbox_bound)

    def learn(self, lane: Lane, length: object) -> None:
        """Take in an answer to XLEN; anything else means that the length is not known any more."""
        if isinstance(length, int):
            self._lengths[lane] = length
        else:
            self._lengths.pop(lane, None)

    def full(self, lane: Lane) -> InboxFullError:
        """The error of somebody who found no room."""
        return InboxFullError(
            f"the {lane} inbox holds {self._lengths.get(lane, self._inbox_bound)} entries and its bound is "
            f"{self._inbox_bound}: enqueue later, wait, add workers or raise FENLIU_INBOX_BOUND"
        )
