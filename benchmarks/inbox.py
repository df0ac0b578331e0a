"""Texts into the inbox, and when all of them are worked off."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import redis

from benchmarks.stack import until
from producers.client import Client
from schemas.names import Lane
from schemas.settings import Settings

SELDOM_ENTRIES: Final = 512
SELDOM_S: Final = 0.2
"""Looking takes the processor from those who are watched: so seldom while so many are left."""


def worked_off(
    settings: Settings,
    client: redis.Redis,
    worker: subprocess.Popen[bytes],
    texts: Sequence[str],
    source: str,
    *,
    lane: Lane = Lane.LIVE,
) -> float:
    """Seconds from the first XADD of these texts until the inboxes are empty again, all committed."""
    return items_worked_off(settings, client, worker, items(texts, source), lane=lane)


def items_worked_off(
    settings: Settings,
    client: redis.Redis,
    worker: subprocess.Popen[bytes],
    added: Iterable[Mapping[str, object]],
    *,
    lane: Lane = Lane.LIVE,
) -> float:
    """As `worked_off`, for items with sources and ids of their own."""
    with Client.from_settings(settings) as sender:
        started = time.perf_counter()
        sender.enqueue_many(added, lane=lane)
        until(lambda: left(settings, client) < SELDOM_ENTRIES, worker, SELDOM_S)
        until(lambda: left(settings, client) == 0, worker)
        return time.perf_counter() - started


def items(texts: Sequence[str], source: str) -> Iterator[dict[str, str]]:
    """One item of this source for each text."""
    return ({"id": str(n), "text": text, "source": source} for n, text in enumerate(texts))


def left(settings: Settings, client: Any) -> int:
    """Entries in both inboxes."""
    return sum(client.xlen(key) for key in settings.keys.inboxes.values())
