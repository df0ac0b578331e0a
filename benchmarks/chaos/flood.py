"""A producer in a process of its own that offers far more than can be done, and takes note of what it is told.

Every half second it offers what is due by the SDK without waiting; what is refused is offered again later under the
same id, so that the ids taken in are those from 0 on without a gap.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event
from typing import Any

from benchmarks.texts import sample_texts
from producers.client import Client
from schemas.errors import InboxFullError
from schemas.names import Lane

TICK_S = 0.5
_NICE = 5


def _count() -> Any:
    return multiprocessing.get_context("spawn").Value("q", 0)


@dataclass
class Flood:
    """What has been offered to one inbox, taken in and refused so far; `told` counts InboxFullError."""

    offered: Any = field(default_factory=_count)
    taken: Any = field(default_factory=_count)
    told: Any = field(default_factory=_count)

    @property
    def refused(self) -> int:
        """Items that were offered in vain, each time it happened."""
        return int(self.offered.value - self.taken.value)


@dataclass(frozen=True)
class Order:
    """Which inbox is flooded, under which bound, and how fast."""

    url: str
    prefix: str
    bound: int
    lane: Lane
    per_s: float


@contextmanager
def flooding(order: Order) -> Iterator[Flood]:
    """Flood one inbox until the end. Its items' source is `flood-` and the lane's name."""
    context = multiprocessing.get_context("spawn")
    stop, flood = context.Event(), Flood()
    process = context.Process(target=_flood, args=(order, stop, flood), daemon=True)
    process.start()
    try:
        yield flood
    finally:
        stop.set()
        process.join(60)


def _flood(order: Order, stop: Event, flood: Flood) -> None:
    os.nice(_NICE)
    texts = sample_texts()
    with Client(order.url, prefix=order.prefix, inbox_bound=order.bound) as client:
        begun_s = time.monotonic()
        while not stop.wait(TICK_S):
            due = round((time.monotonic() - begun_s) * order.per_s) - flood.offered.value
            first = flood.taken.value
            made = (
                {"id": str(number), "source": f"flood-{order.lane}", "text": f"{number}：{texts[number % len(texts)]}"}
                for number in range(first, first + due)
            )
            flood.offered.value += due
            try:
                for _ in client.enqueue_each(made, lane=order.lane):
                    flood.taken.value += 1
            except InboxFullError:
                flood.told.value += 1
