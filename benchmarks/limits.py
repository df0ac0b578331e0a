"""What Postgres and Redis give with nothing else to do: the sink's statements with rows ready, and an inbox read.

    python -m benchmarks.limits [--batches 60] [--dry]

Postgres: batches of 256 new items in the sink's own statements and transactions, their parameters made beforehand;
from one connection, and from as many as there are CPUs. Redis: entries read by 256 from an inbox and acknowledged and
deleted in one MULTI, nothing of them looked at. The limits of the model are `benchmarks.session`'s, those of the
processor `benchmarks.operators`'.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import redis
from sqlalchemy import Engine
from sqlalchemy import text as sql

from benchmarks.machine import keep_result
from benchmarks.processor import redis_processor_s
from benchmarks.sink import BATCH_ENTRIES, batch
from benchmarks.stack import processor_s, scratch_stack
from benchmarks.texts import distinct_texts
from schemas.database import make_engine
from schemas.names import GROUP, Kind, Lane
from schemas.settings import Settings, cpu_quota
from worker import sink_sql
from worker.inbox import Inbox, connect
from worker.sink_rows import Batch
from worker.sink_tickets import assignment_rows
from worker.sink_usual import Usual

ROUNDS = 3
READ_ENTRIES = 50_000

Ready = list[tuple[str, dict[str, Any]]]


def main(arguments: Sequence[str] = ()) -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=40, help="of 256 items, in each round of each case")
    parser.add_argument("--entries", type=int, default=READ_ENTRIES, help="read in each round")
    parser.add_argument("--dry", action="store_true", help="print the result instead of writing it")
    options = parser.parse_args(arguments)
    with scratch_stack() as settings:
        result = {
            "batch_entries": BATCH_ENTRIES,
            "postgres": _postgres(settings, options.batches),
            "stream": _stream(settings, options.entries),
        }
    keep_result("limits", result, dry=options.dry)


def _postgres(settings: Settings, batches: int) -> list[dict[str, Any]]:
    """Items per second for each kind and number of connections, and the server's processor time per item."""
    engine = make_engine(settings)
    cases = [(kind, connections) for kind in Kind for connections in dict.fromkeys((1, cpu_quota()))]
    found: dict[tuple[Kind, int], list[tuple[float, float]]] = {case: [] for case in cases}
    for number in range(ROUNDS):
        for kind, connections in cases:
            first = (number * len(cases) + cases.index((kind, connections))) * batches
            ready = [_ready(kind, first + n) for n in range(batches)]
            found[kind, connections].append(_written(engine, ready, connections))
    engine.dispose()
    items = batches * BATCH_ENTRIES
    return [
        {
            "kind": kind.value,
            "connections": connections,
            "items_per_s": items / statistics.median(seconds for seconds, _ in rounds),
            "server_us_per_item": statistics.median(server_s for _, server_s in rounds) / items * 1e6,
            "rounds": [{"seconds": seconds, "server_processor_s": server_s} for seconds, server_s in rounds],
        }
        for (kind, connections), rounds in found.items()
    ]


def _ready(kind: Kind, number: int) -> Ready:
    """Statements and parameters of one batch of new items, as the sink runs them."""
    outcomes, now = batch(kind, number, entry_ms=1_800_000_000_000), datetime.now(UTC)
    usual = Usual.of(outcomes, now)
    if usual is not None:
        return [(sink_sql.WRITE_USUAL, usual.parameters)]
    made = Batch.of(outcomes, now)
    current = {prediction for _, prediction in made.newest.values()}
    ready = [
        (sink_sql.UPSERT_ITEMS, made.item_rows()),
        (sink_sql.UPSERT_PREDICTIONS, made.prediction_rows(current)),
    ]
    if made.assignments:
        ready.append((sink_sql.WRITE_ASSIGNMENTS, assignment_rows(made, {})))
    return [(statement.sql, statement.columns.parameters(rows)) for statement, rows in ready]


def _written(engine: Engine, batches: Sequence[Ready], connections: int) -> tuple[float, float]:
    """Seconds until all batches are committed, and processor time of the connections' servers."""

    def work(share: Sequence[Ready]) -> float:
        with engine.connect() as connection:
            server = int(connection.execute(sql("SELECT pg_backend_pid()")).scalar_one())
            connection.commit()
            before_s = processor_s(server)
            for ready in share:
                for number, (statement, parameters) in enumerate(ready):
                    connection.exec_driver_sql(statement if number else sink_sql.BOUNDS + statement, parameters)
                connection.commit()
            return processor_s(server) - before_s

    with ThreadPoolExecutor(connections) as pool:
        started = time.perf_counter()
        servers_s = sum(pool.map(work, [batches[n::connections] for n in range(connections)]))
        return time.perf_counter() - started, servers_s


def _stream(settings: Settings, entries: int) -> dict[str, Any]:
    """Entries per second through one connection, and processor time per entry here and in Redis."""
    key = settings.keys.inbox(Lane.BULK)
    texts = distinct_texts(2_000)
    rounds = []
    with connect(settings) as client, redis.Redis.from_url(settings.redis_url) as other:
        inbox = Inbox(client, settings.keys, "limits")
        inbox.ensure_groups()
        for _ in range(ROUNDS):
            add_entries(other, key, entries, texts)
            server_before_s, before_s, started = redis_processor_s(other), time.process_time(), time.perf_counter()
            taken = 0
            while taken < entries:
                taken += read_bare(client, key)
            rounds.append(
                {
                    "seconds": time.perf_counter() - started,
                    "processor_s": time.process_time() - before_s,
                    "server_processor_s": redis_processor_s(other) - server_before_s,
                }
            )
    return {
        "entries": entries,
        "entries_per_s": entries / statistics.median(row["seconds"] for row in rounds),
        "here_us_per_entry": statistics.median(row["processor_s"] for row in rounds) / entries * 1e6,
        "server_us_per_entry": statistics.median(row["server_processor_s"] for row in rounds) / entries * 1e6,
        "rounds": rounds,
    }


def add_entries(client: Any, key: str, count: int, texts: Sequence[str], first: int = 0) -> None:
    """So many entries into a stream, as plain as they can be."""
    pipeline = client.pipeline(transaction=False)
    for number in range(first, first + count):
        pipeline.xadd(key, {"id": str(number), "text": texts[number % len(texts)], "source": "limits"})
        if len(pipeline) == 1_000:
            pipeline.execute()
    pipeline.execute()


def read_bare(client: Any, key: str) -> int:
    """Read, acknowledge and delete up to 256 entries; how many there were."""
    answer = client.execute_command("XREADGROUP", "GROUP", GROUP, "limits", "COUNT", BATCH_ENTRIES, "STREAMS", key, ">")
    found = next(iter(answer.values())) if isinstance(answer, dict) else answer[0][1]
    entries = found[0] if len(found) == 1 and isinstance(found[0][0], list) else found
    ids = [entry[0] for entry in entries]
    pipeline = client.pipeline(transaction=True)
    pipeline.xack(key, GROUP, *ids)
    pipeline.xdel(key, *ids)
    pipeline.execute()
    return len(ids)


if __name__ == "__main__":
    main(sys.argv[1:])
