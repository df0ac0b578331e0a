"""One look at everything: processes, Redis, Postgres, the home's files. Costs some ten milliseconds."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import psutil
import redis
from sqlalchemy import Engine, text

from schemas.settings import Settings

_MIB: Final = 1 << 20
SERVERS_FOLDERS: Final = ("postgres", "redis", "run")
_TABLES = text(
    "SELECT relname, n_live_tup, n_dead_tup, pg_total_relation_size(relid) AS bytes FROM pg_stat_user_tables"
    " WHERE pg_total_relation_size(relid) > 65536 ORDER BY relname"
)
_DATABASE = text(
    "SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections,"
    " (SELECT coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 FROM outbox WHERE delivered_at IS NULL)"
    " AS outbox_oldest_s, pg_database_size(current_database()) AS bytes,"
    " (SELECT coalesce(sum(temp_files), 0)::bigint FROM pg_stat_database) AS temp_files"
)


def sample(settings: Settings, engine: Engine, client: Any, pids: Mapping[str, int]) -> dict[str, float]:
    """Numbers by name. What cannot be had just now is left out. Raises the errors of Redis and Postgres."""
    found: dict[str, float] = {}
    for name, pid in pids.items():
        with contextlib.suppress(psutil.Error, OSError):
            found |= {f"{name}_{what}": value for what, value in _process(pid).items()}
    return found | _redis(settings, client) | _postgres(engine) | _files(settings.home)


def tables(engine: Engine) -> list[dict[str, Any]]:
    """Live and dead rows and bytes of each table of some size, as Postgres' statistics say."""
    with engine.connect() as connection:
        return [dict(row._mapping) for row in connection.execute(_TABLES)]


def _process(pid: int) -> dict[str, float]:
    process = psutil.Process(pid)
    family = [process, *process.children(recursive=True)]
    rollups = [_rollup_kib(member.pid) for member in family]
    return {
        "pss_mib": round(sum(rollup["Pss"] for rollup in rollups) / 1024, 2),
        "rss_mib": round(process.memory_info().rss / _MIB, 2),
        "handles": sum(member.num_fds() for member in family),
        "threads": process.num_threads(),
    }


def _rollup_kib(pid: int) -> dict[str, int]:
    """PSS: memory of its own, and its part of what is shared. Where the system does not tell, all that is resident."""
    path = Path(f"/proc/{pid}/smaps_rollup")
    if not path.exists():
        return {"Pss": psutil.Process(pid).memory_info().rss >> 10}
    lines = [line.split() for line in path.read_text().splitlines()[1:]]
    return {parts[0].rstrip(":"): int(parts[1]) for parts in lines}


def _redis(settings: Settings, client: Any) -> dict[str, float]:
    info = client.info()
    keys = settings.keys
    return {
        "redis_used_mib": round(info["used_memory"] / _MIB, 2),
        "redis_clients": info["connected_clients"],
        "redis_keys": client.dbsize(),
        "backlog_entries": sum(client.xlen(stream) for stream in keys.inboxes.values()),
    }


def _postgres(engine: Engine) -> dict[str, float]:
    with engine.connect() as connection:
        row = connection.execute(_DATABASE).one()
    return {
        "postgres_connections": row.connections,
        "outbox_oldest_s": round(row.outbox_oldest_s, 2),
        "database_mib": round(row.bytes / _MIB, 2),
        "postgres_temp_files": row.temp_files,
    } | {"dead_rows": sum(table["n_dead_tup"] for table in tables(engine))}


def _files(home: Path) -> dict[str, float]:
    """Files of the home but for the servers' data."""
    count = size_bytes = 0
    for folder, folders, files in os.walk(home):
        if Path(folder) == home:
            folders[:] = [name for name in folders if name not in SERVERS_FOLDERS]
        for name in files:
            with contextlib.suppress(OSError):
                size_bytes += (Path(folder) / name).stat().st_size
                count += 1
    return {"home_files": count, "home_mib": round(size_bytes / _MIB, 3)}


def redis_keys(client: redis.Redis) -> dict[str, int]:
    """How many keys there are by the first two parts of their names."""
    anyway: Any = client
    found: dict[str, int] = {}
    for key in anyway.scan_iter(count=1_000):
        name = ":".join(key.decode(errors="replace").split(":")[:2])
        found[name] = found.get(name, 0) + 1
    return found
