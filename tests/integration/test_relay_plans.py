"""What the relay asks at every look stays quick, however much waits for a receiver that is down."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection, Engine, TextClause, text

from worker.relay import claims

FILL = """
INSERT INTO items
    (source, item_id, kind, text, state, created_at, updated_at, received_at, entry_id, entry_ms, entry_seq)
SELECT 'shop', n::text, 'ticket', 'x', 'done', now(), now(), now(), n || '-0', n, 0 FROM generate_series(1, 20000) AS n;
INSERT INTO outbox (kind, source, item_id, team, payload, fanned_out, delivered_at)
SELECT 'assigned', 'shop', (1 + mod(n, 20000))::text, 'billing', '{}', true, CASE WHEN n <= 20000 THEN now() END
FROM generate_series(1, 40000) AS n;
INSERT INTO webhooks (url, secret) SELECT 'https://a/' || n, 's' FROM generate_series(1, 3) AS n;
INSERT INTO deliveries (outbox_id, webhook_id, state, next_attempt_at)
SELECT o.id, w.id, CASE WHEN o.delivered_at IS NULL AND w.id IS NOT NULL THEN 'waiting' ELSE 'delivered' END,
    CASE WHEN w.id = 1 THEN now() + interval '1 hour' ELSE now() - interval '1 hour' END
FROM outbox o CROSS JOIN (SELECT id FROM webhooks UNION ALL SELECT NULL) AS w (id);
"""
ASKED: list[tuple[TextClause, dict[str, Any]]] = [
    (claims._FAN_OUT, {"most": 500}),
    (claims._DUE_ON_STREAMS, {"most": 500}),
    (claims._DUE_CALLS, {"webhooks": [1, 2, 3], "rooms": [4, 4, 4], "running": [7]}),
]


def rows_read(connection: Connection, statement: TextClause, values: dict[str, Any]) -> int:
    """Rows that all scans of tables and indexes have come across, passed on or filtered out."""
    explain = text(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement.text}")
    plan = connection.execute(explain, values).scalar_one()[0]["Plan"]

    def read(node: dict[str, Any]) -> int:
        below = sum(read(each) for each in node.get("Plans", ()))
        if "Scan" not in node["Node Type"] or node["Node Type"] in {"CTE Scan", "Function Scan", "Subquery Scan"}:
            return below
        each = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        return below + int(each * node["Actual Loops"])

    return read(plan)


def test_a_look_reads_few_rows_of_many(engine: Engine) -> None:
    # Given 60,000 deliveries that wait, for their time or for a call, and 100,000 that are through
    with engine.begin() as connection:
        connection.exec_driver_sql(FILL)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for table in ("outbox", "deliveries", "webhooks"):
            connection.execute(text(f"VACUUM ANALYZE {table}"))
    # When the relay looks, then it comes across no more than what it takes, and a little
    with engine.connect() as connection:
        for statement, values in ASKED:
            read = rows_read(connection, statement, values)
            assert read <= 200, f"{read} rows: {statement.text}"


@pytest.mark.parametrize("statement", [claims._DUE_CALLS, claims._DUE_ON_STREAMS])
def test_nothing_is_due_in_an_empty_place(engine: Engine, statement: TextClause) -> None:
    with engine.connect() as connection:
        values = next(values for asked, values in ASKED if asked is statement)
        assert [] == connection.execute(statement, values).all()
