"""Where a text is kept: every column of every table, and every key of Redis."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import redis
from sqlalchemy import Engine, select

from schemas.names import Keys
from schemas.tables import metadata


def tables_with(engine: Engine, needle: str) -> list[str]:
    """Tables with a row that holds `needle` in any column, as text or anywhere in its JSON."""
    with engine.connect() as connection:
        return [
            table.name
            for table in metadata.sorted_tables
            if any(needle in _shown(row) for row in connection.execute(select(table)))
        ]


def keys_with(client: redis.Redis, keys: Keys, needle: str) -> list[str]:
    """Redis keys of a prefix that hold `needle`, whatever their type."""
    return [
        key.decode()
        for key in client.scan_iter(f"{keys.prefix}*")
        if any(needle.encode() in part for part in _parts(client, key))
    ]


def _shown(row: Any) -> str:
    return "\n".join(
        json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value) for value in row
    )


def _parts(client: Any, key: bytes) -> Iterator[bytes]:
    match client.type(key):
        case b"string":
            yield client.get(key)
        case b"hash":
            for name, value in client.hgetall(key).items():
                yield from (name, value)
        case b"list":
            yield from client.lrange(key, 0, -1)
        case b"set":
            yield from client.smembers(key)
        case b"zset":
            yield from client.zrange(key, 0, -1)
        case b"stream":
            for _, fields in client.xrange(key):
                for name, value in fields.items():
                    yield from (name, value)
        case other:
            raise AssertionError(f"{key!r} is a {other!r}")
