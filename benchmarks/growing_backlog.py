"""What an entry takes from being read to being settled, with short and long backlogs: three sizes in one Redis, portion
by portion in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

import redis

from benchmarks.processor import redis_processor_s
from benchmarks.texts import distinct_texts
from schemas.names import Keys, Lane
from schemas.settings import Settings
from worker.inbox import Inbox, connect

BATCH_ENTRIES = 256
PORTION_BATCHES = 16
_ADDED_AT_ONCE = 1_000
_ADD = """
for number, text in ipairs(ARGV) do
    redis.call('XADD', KEYS[1], '*', 'id', tostring(number), 'text', text, 'source', 'limits')
end
"""


def growth_by_backlog(settings: Settings, sizes: Sequence[int], rounds: int) -> list[dict[str, Any]]:
    """For each size: microseconds per entry on the clock, here and in Redis, and the median ratio to the shortest
    backlog in the same round. Backlogs are filled up again between rounds."""
    texts = distinct_texts(2_000)
    # Without retries: a pipeline that is sent again because its answer was late adds its entries twice.
    with connect(settings) as client, redis.Redis.from_url(settings.redis_url, socket_timeout=120, retry=None) as other:
        inboxes = {size: Inbox(client, Keys(f"backlog-{size}"), "growth") for size in sizes}
        keys = {size: Keys(f"backlog-{size}").inbox(Lane.BULK) for size in sizes}
        for size, inbox in inboxes.items():
            inbox.ensure_groups()
            _add(other, keys[size], size, texts)
        took: dict[int, list[tuple[float, float, float]]] = {size: [] for size in sizes}
        for number in range(rounds + 1):
            order = list(inboxes.items())
            for size, inbox in order if number % 2 else reversed(order):
                entries, *seconds = _portion(inbox, settings, other)
                _add(other, keys[size], entries, texts)
                if number:
                    took[size].append((seconds[0] / entries, seconds[1] / entries, seconds[2] / entries))
        for size in sizes:
            if other.xlen(keys[size]) != size:
                raise RuntimeError(f"{other.xlen(keys[size])} entries wait instead of {size}")
            other.delete(keys[size])
    smallest = took[min(sizes)]
    return [
        {
            "entries": size,
            "wall_us": _per_entry_us([row[0] for row in rows]),
            "here_us": _per_entry_us([row[1] for row in rows]),
            "server_us": _per_entry_us([row[2] for row in rows]),
            "processor_ratio": statistics.median(
                sum(row[1:]) / sum(least[1:]) for row, least in zip(rows, smallest, strict=True)
            ),
            "wall_ratio": statistics.median(row[0] / least[0] for row, least in zip(rows, smallest, strict=True)),
            "rounds": rows,
        }
        for size, rows in took.items()
    ]


def _add(client: Any, key: str, count: int, texts: Sequence[str]) -> None:
    """So many entries, a script's call for every thousand: a command for each would take most of this benchmark."""
    for first in range(0, count, _ADDED_AT_ONCE):
        some = [texts[number % len(texts)] for number in range(first, min(first + _ADDED_AT_ONCE, count))]
        client.eval(_ADD, 1, key, *some)


def _portion(inbox: Inbox, settings: Settings, other: Any) -> tuple[int, float, float, float]:
    """How many entries some batches had, and seconds on the clock, here and in Redis. A read may end before it has a
    whole batch, at so many bytes."""
    taken = 0
    server_s, here_s, wall_s = redis_processor_s(other), time.process_time(), time.perf_counter()
    for _ in range(PORTION_BATCHES):
        entries = inbox.read(Lane.BULK, BATCH_ENTRIES)
        inbox.settle(entries, [], settings)
        taken += len(entries)
    return taken, time.perf_counter() - wall_s, time.process_time() - here_s, redis_processor_s(other) - server_s


def _per_entry_us(seconds: list[float]) -> float:
    return statistics.median(seconds) * 1e6
