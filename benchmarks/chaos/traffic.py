"""Producers: threads that enqueue numbered items by the SDK, on through every outage, steadily and in bursts.

An item's number says all of it, so that it is known afterwards what must be in the tables.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Final

from benchmarks.texts import sample_texts
from producers.client import Client
from schemas.names import Kind, Lane
from schemas.settings import Settings

SOURCE: Final = "chaos"
TICKET_EVERY: Final = 10
_MOST_CHARS = 24
_CHUNK = 250
_TICK_S = 0.05


def item(number: int, texts: list[str]) -> dict[str, str]:
    """The item of this number: a short text of its own, every tenth a ticket."""
    text = f"{number}：{texts[number % len(texts)][:_MOST_CHARS]}"
    kind = Kind.TICKET if number % TICKET_EVERY == 0 else Kind.COMMENT
    return {"id": str(number), "text": text, "source": SOURCE, "kind": kind}


def items(count: int) -> Iterator[dict[str, str]]:
    """The first `count` items."""
    texts = sample_texts()
    return (item(number, texts) for number in range(count))


class Traffic:
    """`count` items in `seconds`, half of them steadily, half in bursts; two threads, one per inbox.

    Used as a context; its end sends what is left and waits for that.
    """

    def __init__(self, settings: Settings, count: int, seconds: float) -> None:
        self.count = count
        self._settings = settings
        self._per_s = count / 2 / seconds
        self._texts = sample_texts()
        self._lock = threading.Lock()
        self._taken = 0
        self._burst = 0
        self._begun_s = time.monotonic()
        self._steady = 0
        self._finishing = threading.Event()
        self._threads = [
            threading.Thread(target=self._produce, args=[lane], name=f"producer-{lane}", daemon=True) for lane in Lane
        ]
        self.errors: list[str] = []

    def __enter__(self) -> Traffic:
        self._begun_s = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def burst(self, count: int) -> None:
        """So many at once, as far as there are any left."""
        with self._lock:
            self._burst += count

    def finish(self) -> None:
        """Send what is left."""
        self._finishing.set()
        for thread in self._threads:
            thread.join()

    def _produce(self, lane: Lane) -> None:
        with Client.from_settings(self._settings) as client:
            while (numbers := self._next()) is not None:
                if numbers:
                    made = [item(number, self._texts) for number in numbers]
                    try:
                        client.enqueue_many(made, lane=lane, wait_s=None)
                    except Exception as error:  # noted as lost by the checks; a thread's end would hide it
                        self.errors.append(f"{type(error).__name__}: {error}"[:300])
                        raise
                else:
                    time.sleep(_TICK_S)

    def _next(self) -> range | None:
        """Numbers that are due; None when there will be no more."""
        with self._lock:
            if self._taken >= self.count:
                return None
            due = int((time.monotonic() - self._begun_s) * self._per_s) - self._steady
            allowed = _CHUNK if self._finishing.is_set() else min(_CHUNK, due + self._burst)
            allowed = max(0, min(allowed, self.count - self._taken))
            steady = max(0, min(allowed, due))
            self._steady += steady
            self._burst -= min(self._burst, allowed - steady)
            first = self._taken
            self._taken += allowed
            return range(first, self._taken)
