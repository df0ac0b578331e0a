"""How fast rows are enqueued where a rate was asked for."""

from __future__ import annotations

import time

_CAUGHT_UP_S = 1.0


class Pace:
    """Rows a second, 0 for no limit. Lost time, as by a full inbox, is made good by a second's rows at most."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._next_s = time.monotonic()

    def pause_s(self, rows: int) -> float:
        """How long to pause after `rows` more."""
        if not self._rate:
            return 0.0
        now_s = time.monotonic()
        self._next_s = max(self._next_s, now_s - _CAUGHT_UP_S) + rows / self._rate
        return max(0.0, self._next_s - now_s)
