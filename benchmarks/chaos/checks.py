"""What must be so afterwards, asked of the tables and the inboxes. Every answer is how often it is not so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import redis
from sqlalchemy import Connection, Engine, text

from schemas.names import GROUP, Keys

_ROWS_AT_ONCE = 5_000
_EXPECTED = (
    "CREATE TEMP TABLE expected (source text, item_id text, text text, ticket bool, PRIMARY KEY (source, item_id))"
)
_INSERT = text(
    "INSERT INTO expected SELECT * FROM unnest(CAST(:sources AS text[]), CAST(:ids AS text[]), "
    "CAST(:texts AS text[]), CAST(:tickets AS bool[]))"
)
_CHECKS = {
    "items lost": """
        SELECT count(*) FROM expected LEFT JOIN items USING (source, item_id) WHERE state IS DISTINCT FROM 'done'""",
    "items that nobody sent": """
        SELECT count(*) FROM items LEFT JOIN expected USING (source, item_id) WHERE expected.item_id IS NULL""",
    "items with another text": """
        SELECT count(*) FROM expected JOIN items USING (source, item_id) WHERE items.text <> expected.text""",
    "items without exactly one current sentiment": """
        SELECT count(*) FROM expected
        LEFT JOIN (SELECT source, item_id, count(*) AS rows FROM predictions
                   WHERE current AND task = 'sentiment' GROUP BY 1, 2) AS found USING (source, item_id)
        WHERE rows IS DISTINCT FROM 1""",
    "tickets without exactly one current team": """
        SELECT count(*) FROM expected
        LEFT JOIN (SELECT source, item_id, count(*) AS rows FROM predictions
                   WHERE current AND task = 'routing' GROUP BY 1, 2) AS found USING (source, item_id)
        LEFT JOIN assignments USING (source, item_id)
        WHERE ticket AND (rows IS DISTINCT FROM 1 OR assignments.item_id IS NULL)""",
    "current results of another entry than the item's": """
        SELECT count(*) FROM items JOIN predictions p USING (source, item_id)
        WHERE current AND (items.updated_at, items.entry_ms, items.entry_seq)
            <> (p.updated_at, p.entry_ms, p.entry_seq)""",
    "rows of results too many": """
        SELECT count(*) - count(DISTINCT (source, item_id, task)) FROM predictions""",
    "tickets not announced exactly once": """
        SELECT count(*) FROM expected
        LEFT JOIN (SELECT source, item_id, count(*) AS rows FROM outbox GROUP BY 1, 2) AS told USING (source, item_id)
        WHERE ticket AND rows IS DISTINCT FROM 1""",
    "dead letters": "SELECT count(*) FROM dead_letters",
}


def check(
    engine: Engine, client: redis.Redis, keys: Keys, items: Iterable[Mapping[str, str]], *, skip: Iterable[str] = ()
) -> dict[str, int]:
    """All checks against the items that were sent, as they must be in the end; `skip` names those that do not hold."""
    with engine.begin() as connection:
        _load(connection, items)
        found = {
            name: int(connection.execute(text(statement)).scalar_one())
            for name, statement in _CHECKS.items()
            if name not in set(skip)
        }
    return found | left(client, keys)


def left(client: redis.Redis, keys: Keys) -> dict[str, int]:
    """What is still in the inboxes."""
    anyway: Any = client  # redis-py types every answer as sync-or-async
    streams = [key for key in keys.inboxes.values() if anyway.exists(key)]
    return {
        "entries left in an inbox": sum(anyway.xlen(key) for key in streams),
        "entries left pending": sum(anyway.xpending(key, GROUP)["pending"] for key in streams),
    }


def _load(connection: Connection, items: Iterable[Mapping[str, str]]) -> None:
    connection.execute(text(_EXPECTED))
    rows = list(items)
    for at in range(0, len(rows), _ROWS_AT_ONCE):
        part = rows[at : at + _ROWS_AT_ONCE]
        connection.execute(
            _INSERT,
            {
                "sources": [row["source"] for row in part],
                "ids": [row["id"] for row in part],
                "texts": [row["text"] for row in part],
                "tickets": [row["kind"] == "ticket" for row in part],
            },
        )
