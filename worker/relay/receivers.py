"""How many calls each webhook gets at once, and when it is left alone for a while.

It starts with one call at a time, gets one more with each success up to four, and falls back to one with a failure.
After some failures in a row, of whatever items, it rests: a receiver that is down is not asked about each of a
thousand tickets. Kept in memory: a new leader begins anew, and the deliveries' own times are in the database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from worker.relay.backoff import Backoff

_MOST_AT_ONCE = 4
_MOST_OF_ALL = 256
_PATIENCE = 3
_MOST_REST_S = 30.0


@dataclass(slots=True)
class _Receiver:
    running: int = 0
    most: int = 1
    failures: int = 0
    rests_until_s: float = 0.0


class Receivers:
    """What is known of each webhook, by its id. `clock_s` is monotonic."""

    def __init__(self, backoff: Backoff, clock_s: Callable[[], float]) -> None:
        self._backoff = backoff
        self._clock_s = clock_s
        self._known: dict[int, _Receiver] = {}

    def rooms(self, webhook_ids: Iterable[int]) -> dict[int, int]:
        """How many more calls each of these may get now; without those that may get none."""
        now_s = self._clock_s()
        left = _MOST_OF_ALL - sum(receiver.running for receiver in self._known.values())
        rooms = {}
        for webhook_id in webhook_ids:
            receiver = self._known.setdefault(webhook_id, _Receiver())
            room = min(left, receiver.most - receiver.running)
            if room > 0 and receiver.rests_until_s <= now_s:
                rooms[webhook_id] = room
                left -= room
        return rooms

    def started(self, webhook_id: int) -> None:
        """A call has begun."""
        self._known[webhook_id].running += 1

    def ended(self, webhook_id: int, *, answered: bool, retry_after_s: float | None = None) -> None:
        """A call has ended. `answered`: with a status that needs no other try."""
        receiver = self._known[webhook_id]
        receiver.running -= 1
        if answered:
            receiver.failures = 0
            receiver.most = min(_MOST_AT_ONCE, receiver.most + 1)
            return
        receiver.failures += 1
        receiver.most = 1
        rest_s = 0.0
        if receiver.failures >= _PATIENCE:
            rest_s = min(_MOST_REST_S, self._backoff.pause_s(receiver.failures - _PATIENCE + 1))
        if retry_after_s is not None:
            rest_s = max(rest_s, min(self._backoff.most_s, retry_after_s))
        receiver.rests_until_s = max(receiver.rests_until_s, self._clock_s() + rest_s)
