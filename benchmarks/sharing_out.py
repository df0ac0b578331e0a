"""How workers share out a backlog: one, two and four processes of one slot each, what each did, and that nothing was
done twice or left."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import redis
from sqlalchemy import text as sql

from benchmarks.stack import counted, free_port, processor_s, running, scratch_stack, until
from producers.client import Client
from schemas.database import make_engine
from schemas.settings import Settings
from worker.pulse import workers

BATCH_ENTRIES = 64
"""Of the workers here: small, so that the shares of a short backlog are told finely."""


def shared_out(texts: Sequence[str], processes: Sequence[int]) -> list[dict[str, Any]]:
    """For each number of processes: items of each, all items a second, entries delivered more than once, rows."""
    with scratch_stack() as stack:
        return [_share(stack, texts, count) for count in processes]


def _share(stack: Settings, texts: Sequence[str], processes: int) -> dict[str, Any]:
    source = f"by-{processes}"
    each = [
        stack.model_copy(update={"metrics_port": free_port(), "slots": 1, "batch_entries": BATCH_ENTRIES})
        for _ in range(processes)
    ]
    with ExitStack() as running_ones, redis.Redis.from_url(stack.redis_url) as client:
        started = [running_ones.enter_context(running(settings, "worker")) for settings in each]
        until(lambda: len(workers(client, stack.keys)) == processes, started[0])
        before_s = [processor_s(worker.pid) for worker in started]
        begun_s = time.perf_counter()
        with Client.from_settings(stack) as sender:
            sender.enqueue_many({"id": str(n), "text": text, "source": source} for n, text in enumerate(texts))
        until(lambda: not any(client.xlen(key) for key in stack.keys.inboxes.values()), started[0])
        seconds = time.perf_counter() - begun_s
        used_s = [processor_s(worker.pid) - before for worker, before in zip(started, before_s, strict=True)]
        counts = [counted(settings) for settings in each]
    rows, items = _stored(stack, source)
    return {
        "processes": processes,
        "texts": len(texts),
        "items_per_s": len(texts) / seconds,
        "processor_us_per_item": sum(used_s) / len(texts) * 1e6,
        "items_of_each": [int(count["fenliu_items_total"]) for count in counts],
        "redelivered": int(sum(count["fenliu_redeliveries_total"] for count in counts)),
        "rows": rows,
        "items_with_a_row": items,
    }


def _stored(settings: Settings, source: str) -> tuple[int, int]:
    """Current rows of a source, and the items they are of."""
    statement = "SELECT count(*), count(DISTINCT item_id) FROM predictions WHERE source = :source AND current"
    engine = make_engine(settings)
    with engine.connect() as connection:
        rows, items = connection.execute(sql(statement), {"source": source}).one()
    engine.dispose()
    return int(rows), int(items)
