"""How many items one Python process adds to an inbox per second through `producers.client`.

    python -m benchmarks.producing

Against a Redis of its own on a unix socket, with its append-only file on, and nobody reading. Texts are the shipped
sample's, over and over. Writes `results/producing.json`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import cycle, islice
from typing import Any

import redis

from benchmarks.machine import write_result
from benchmarks.stack import scratch_stack
from benchmarks.texts import sample_texts
from producers.client import CHUNK_ENTRIES, Client
from producers.item import Item
from schemas.names import Kind, Lane
from schemas.settings import Settings

ITEMS = 100_000
ONE_BY_ONE_ITEMS = 10_000
RUNS = 3
WHEN = datetime(2026, 1, 31, 8, tzinfo=UTC)

Items = Iterable[Item | Mapping[str, object]]


def main(arguments: Sequence[str] = ()) -> None:  # noqa: ARG001 - as every benchmark
    """Measure every case and write the result."""
    texts = list(islice(cycle(sample_texts()), ITEMS))
    with scratch_stack() as settings:
        cases = {
            "mapping": _runs(settings, ITEMS, lambda client: _many(client, _mappings(texts))),
            "item": _runs(settings, ITEMS, lambda client: _many(client, _items(texts))),
            "item_with_times_and_meta": _runs(settings, ITEMS, lambda client: _many(client, _full_items(texts))),
            "one_by_one": _runs(settings, ONE_BY_ONE_ITEMS, lambda client: _one_by_one(client, texts)),
            "bare_redis_pipeline": _runs(settings, ITEMS, lambda _: _bare(settings, texts)),
        }
    write_result(
        "producing",
        {
            "what": "XADD per second from one Python process; validation and iteration are part of it",
            "items": {"one_by_one": ONE_BY_ONE_ITEMS, "others": ITEMS},
            "mean_text_chars": round(statistics.mean(map(len, texts)), 1),
            "chunk_entries": CHUNK_ENTRIES,
            "target_per_s": 50_000,
            "cases": cases,
        },
    )


def _runs(settings: Settings, items: int, run: Callable[[Client], None]) -> dict[str, Any]:
    """Items per second of each run, into an empty inbox each time; `cpu_us`: this process' time per item."""
    rates, cpu_us = [], []
    stream = settings.keys.inbox(Lane.BULK)
    with (
        Client(settings.redis_url, prefix=settings.prefix, inbox_bound=10 * ITEMS) as client,
        redis.Redis.from_url(settings.redis_url) as server,
    ):
        for _ in range(RUNS):
            server.delete(stream)
            started_s, cpu_started_s = time.perf_counter(), time.process_time()
            run(client)
            rates.append(items / (time.perf_counter() - started_s))
            cpu_us.append((time.process_time() - cpu_started_s) / items * 1e6)
            if server.xlen(stream) != items:
                raise RuntimeError(f"{server.xlen(stream)} entries instead of {items}")
        server.delete(stream)
    return {
        "per_s_median": round(statistics.median(rates)),
        "per_s_best": round(max(rates)),
        "per_s_worst": round(min(rates)),
        "cpu_us_median": round(statistics.median(cpu_us), 2),
    }


def _many(client: Client, items: Items) -> None:
    summary = client.enqueue_many(items, lane=Lane.BULK)
    if summary.refused:
        raise RuntimeError(f"{summary.refused} refused, first: {summary.refusals[0].error}")


def _one_by_one(client: Client, texts: list[str]) -> None:
    for number in range(ONE_BY_ONE_ITEMS):
        client.enqueue(str(number), texts[number], source="bench", lane=Lane.BULK)


def _bare(settings: Settings, texts: list[str]) -> None:
    """What redis-py does alone with the same fields, unchecked: the most there is to reach this way."""
    with redis.Redis.from_url(settings.redis_url) as server:
        pipeline = server.pipeline(transaction=False)
        for number, text in enumerate(texts):
            pipeline.xadd(settings.keys.inbox(Lane.BULK), {"id": str(number), "text": text, "source": "bench"})
            if len(pipeline) == CHUNK_ENTRIES:
                pipeline.execute()
        pipeline.execute()


def _mappings(texts: list[str]) -> Iterator[Mapping[str, object]]:
    for number, text in enumerate(texts):
        yield {"id": str(number), "text": text, "source": "bench"}


def _items(texts: list[str]) -> Iterator[Item]:
    for number, text in enumerate(texts):
        yield Item(str(number), text, source="bench")


def _full_items(texts: list[str]) -> Iterator[Item]:
    for number, text in enumerate(texts):
        yield Item(str(number), text, "bench", Kind.TICKET, created_at=WHEN, meta={"plan": "pro", "stars": number % 5})


if __name__ == "__main__":
    main()
