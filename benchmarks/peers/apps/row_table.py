"""The table that Celery tasks write: one row per text, one connection per thread."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import psycopg2
from psycopg2.extras import execute_values

CREATE = """
CREATE TABLE IF NOT EXISTS peer_rows (
    item_id text PRIMARY KEY, text text NOT NULL, label text NOT NULL, score real NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
)"""
_INSERT = (
    "INSERT INTO peer_rows (item_id, text, label, score) VALUES %s "
    "ON CONFLICT (item_id) DO UPDATE SET text = excluded.text, label = excluded.label, score = excluded.score"
)
_connections = threading.local()

Row = tuple[str, str, str, float]


def insert(database_url: str, rows: Sequence[Row]) -> None:
    """Commit (item_id, text, label, score) rows in one transaction."""
    if not hasattr(_connections, "open"):
        _connections.open = psycopg2.connect(database_url)
    connection: Any = _connections.open
    with connection, connection.cursor() as cursor:
        execute_values(cursor, _INSERT, rows)
