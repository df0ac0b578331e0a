"""What a dashboard and the review queue ask reads few rows, whatever the size of the tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event, text

from benchmarks.dashboard_data import QUERIES, fill
from schemas.names import Task
from schemas.settings import Settings
from worker.desk import review_queue
from worker.desk.review_pick import Which

PREDICTIONS = 200_000
LARGE = {"items", "predictions", "assignments"}
# A page of 100, or of 100 after 300, with what is skipped on the way and looked up for it in three tables.
MOST_ROWS = 3_000
# A 14th of all is of the last day, and counted one by one.
# The first 500 that wait with what belongs to them; of a source or a team those that are passed over as well.
MOST_WAITING_ROWS = 12_000
MORE_ROWS = {"dash_low_confidence, how many of a day": PREDICTIONS // 10}


def test_no_query_of_a_page_reads_a_whole_table(engine: Engine, settings: Settings) -> None:
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

    # And when reviewers are given what waits for them, then that, too, is found by indexes and without reading it all
    sure = settings.model_copy(update={"review_random_share": 0.0})
    for which in (Which(Task.SENTIMENT), Which(Task.ROUTING), Which(Task.SENTIMENT, "shop"),
                  Which(Task.SENTIMENT, "rare"), Which(Task.ROUTING, team="billing")):  # fmt: skip
        with asked_of(engine) as asked:
            assert review_queue.claim(engine, sure, "li", which) is not None or which.source == "rare"
        assert asked
        with engine.connect() as connection:
            for query, values in asked:
                explained = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", values)
                plan = explained.scalar_one()[0]["Plan"]
                scans = [node for node in nodes(plan) if node.get("Relation Name") in LARGE]
                assert [] == [node["Relation Name"] for node in scans if node["Node Type"] == "Seq Scan"], query
                assert sum(map(rows_read, scans)) <= MOST_WAITING_ROWS, (which, query)


@contextmanager
def asked_of(engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    """What is selected from a large table meanwhile, with its parameters."""
    asked: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.lstrip().startswith("SELECT") and "FROM items i" in statement and "ORDER BY" in statement:
            asked.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(engine, "before_cursor_execute", note)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def rows_read(node: dict[str, Any]) -> float:
    """Rows that a scan gave or threw away, over all its runs."""
    thrown = sum(value for name, value in node.items() if name.startswith("Rows Removed by"))
    return float((node["Actual Rows"] + thrown) * node["Actual Loops"])
