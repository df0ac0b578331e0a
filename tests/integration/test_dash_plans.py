"""What a dashboard asks reads few rows, whatever the size of the tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Engine, text

from benchmarks.dashboard_data import QUERIES, fill

PREDICTIONS = 200_000
LARGE = {"items", "predictions", "assignments"}
# A page of 100, or of 100 after 300, with what is skipped on the way and looked up for it in three tables.
MOST_ROWS = 3_000
# A 14th of all is of the last day, and counted one by one.
MORE_ROWS = {"dash_low_confidence, how many of a day": PREDICTIONS // 10}


def test_no_query_of_a_dashboard_reads_a_whole_table(engine: Engine) -> None:
    # Given tables in which reading all would show
    fill(engine, PREDICTIONS)
    with engine.connect() as connection:
        assert PREDICTIONS == connection.execute(text("SELECT count(*) FROM predictions")).scalar_one()
        for name, query in QUERIES.items():
            # when Postgres answers and says how
            plan = connection.execute(text(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}")).scalar_one()[0]["Plan"]
            scans = [node for node in nodes(plan) if node.get("Relation Name") in LARGE]

            # then it went by an index, and read little
            assert [] == [node["Relation Name"] for node in scans if node["Node Type"] == "Seq Scan"], name
            assert sum(map(rows_read, scans)) <= MORE_ROWS.get(name, MOST_ROWS), name


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def rows_read(node: dict[str, Any]) -> float:
    """Rows that a scan gave or threw away, over all its runs."""
    thrown = sum(value for name, value in node.items() if name.startswith("Rows Removed by"))
    return float((node["Actual Rows"] + thrown) * node["Actual Loops"])
