"""How soon every `dash_*` view answers what dashboards ask, on 2 million predictions in a Postgres of its own.

Run with `python -m benchmarks.dashboards [--predictions N]`. A time is from sending a query to having the last of its
rows, warm; each query is asked several times. "Unfolded" is the worst that folding once a minute leaves: a minute of
batches on top.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, text

from benchmarks.dashboard_data import QUERIES, fill
from benchmarks.machine import write_result
from benchmarks.sink import batch
from benchmarks.stack import scratch_stack
from schemas.database import make_engine
from schemas.names import Kind
from worker.rollup import fold
from worker.sink import Sink

PREDICTIONS = 2_000_000
ROUNDS = 9
BATCHES_A_MINUTE = 120
TABLES = (
    "items",
    "predictions",
    "assignments",
    "rollup_sentiment",
    "rollup_routing",
    "rollup_throughput",
    "rollup_latency",
)


def main(arguments: Sequence[str] = ()) -> None:
    """Fill, measure and write the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dashboards")
    parser.add_argument("--predictions", type=int, default=PREDICTIONS)
    predictions = parser.parse_args(list(arguments)).predictions
    with scratch_stack() as settings:
        engine = make_engine(settings)
        result = measure(engine, predictions)
        engine.dispose()
    write_result("dashboards", result)
    for name, row in result["queries"].items():
        print(f"{name:55} {row['rows']:7} rows {row['p50_ms']:8.1f} ms, unfolded {row['unfolded_p50_ms']:8.1f} ms")  # noqa: T201


def measure(engine: Engine, predictions: int) -> dict[str, Any]:
    """Times of every query, of folding, and how large the tables are."""
    started = time.perf_counter()
    fill(engine, predictions)
    filled_s = time.perf_counter() - started
    rows = _rows(engine)
    settled = _ask(engine)
    sink = Sink(engine)
    for number in range(BATCHES_A_MINUTE):
        sink.write(batch(Kind.TICKET, number, entry_ms=1_900_000_000_000), datetime.now(UTC))
    unfolded = _ask(engine)
    started = time.perf_counter()
    folded = fold(engine)
    return {
        "rows": rows,
        "filled_s": round(filled_s, 1),
        "rounds": ROUNDS,
        "folded_rows": sum(folded.rows.values()),
        "fold_ms": round((time.perf_counter() - started) * 1e3, 1),
        "queries": {name: settled[name] | {"unfolded_p50_ms": unfolded[name]["p50_ms"]} for name in QUERIES},
    }


def _rows(engine: Engine) -> dict[str, int]:
    with engine.connect() as connection:
        return {table: connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() for table in TABLES}  # noqa: S608


def _ask(engine: Engine) -> dict[str, dict[str, float]]:
    """Each query ROUNDS times after one that warms the cache."""
    answers = {}
    connection = engine.raw_connection()
    try:
        for name, query in QUERIES.items():
            times_ms = []
            with closing(connection.cursor()) as cursor:
                for _ in range(ROUNDS + 1):
                    started = time.perf_counter()
                    cursor.execute(query)  # has all rows when it returns
                    times_ms.append((time.perf_counter() - started) * 1e3)
                rows = cursor.rowcount
            times_ms = sorted(times_ms[1:])
            answers[name] = {
                "rows": rows,
                "p50_ms": round(statistics.median(times_ms), 2),
                "worst_ms": round(times_ms[-1], 2),
            }
            connection.rollback()
    finally:
        connection.close()
    return answers


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
