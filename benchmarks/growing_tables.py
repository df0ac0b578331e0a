"""What the sink takes per item in small and large databases: three sizes in one server, batch by batch in turn."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, make_url
from sqlalchemy import text as sql

from benchmarks.dashboard_data import ITEMS_PER_PREDICTION
from benchmarks.processor import backend_pid, on_cpu_s
from benchmarks.sink import outcome
from schemas.database import make_engine
from schemas.messages import Entry
from schemas.names import Kind
from schemas.settings import Settings
from worker.migrate import migrate
from worker.outcome import Done, Outcome
from worker.sink import Sink
from worker.slot import MOST_WRITTEN_ENTRIES

SOURCES = ("app", "shop", "web", "forum", "mail")
"""Of the rows that `benchmarks.dashboard_data` makes, but for a rare one."""


@dataclass
class Filled:
    """A database with so many items, and how many have come since."""

    items: int
    settings: Settings
    engine: Engine
    added: int = 0
    rng: random.Random = field(default_factory=lambda: random.Random(11))  # noqa: S311 - made-up data

    def in_order(self) -> tuple[str, str]:
        """A new item whose id follows the last one's, as numbers of orders do."""
        self.added += 1
        return "shop", str(self.items + self.added)

    def anywhere(self) -> tuple[str, str]:
        """A new item whose id may stand anywhere among the others, as random ids do."""
        self.added += 1
        return self.rng.choice(SOURCES), f"{self.rng.randint(1, self.items)}.{self.added}"

    def known(self) -> tuple[str, str]:
        """An item that is there, whichever."""
        number = self.rng.randint(1, self.items)
        return ("rare" if number % 10_000 == 7 else SOURCES[number % 5]), str(number)


ROUND_ITEMS = MOST_WRITTEN_ENTRIES * len(Kind)

CASES: Mapping[str, Callable[[Filled], tuple[str, str]]] = {
    "new items, ids in order": Filled.in_order,
    "new items, ids at random": Filled.anywhere,
    "known items, newer texts": Filled.known,
}


@contextmanager
def database(settings: Settings, name: str) -> Iterator[tuple[Settings, Engine]]:
    """A migrated, empty database of this name beside the one of `settings`: settings that name it, and its engine."""
    beside = make_engine(settings)
    with beside.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    beside.dispose()
    url = make_url(settings.database_url).set(database=name).render_as_string(hide_password=False)
    own = settings.model_copy(update={"database_url": url})
    migrate(own)
    engine = make_engine(own)
    try:
        yield own, engine
    finally:
        engine.dispose()


def predictions_of(items: int) -> int:
    """How many predictions `dashboard_data.fill` has to make for so many items."""
    return int(items / ITEMS_PER_PREDICTION)


def growth_by_tables(databases: Mapping[int, Filled], rounds: int) -> list[dict[str, Any]]:
    """For each case and size: microseconds per item on the clock and of processor time, bytes of WAL, and the median
    ratio to the smallest database in the same round. A round is a transaction of comments and one of tickets in each,
    as large as a worker's."""
    for _, filled in sorted(databases.items(), reverse=True):
        filled.engine.dispose()  # one connection from here on, whose server is watched
        _read_in(filled.engine)
    found = []
    for case, identity in CASES.items():
        meters = {items: _Meter(filled) for items, filled in databases.items()}
        for number in range(rounds + 1):
            order = list(meters.values())
            for meter in order if number % 2 else reversed(order):
                meter.once([_batch(meter.filled, identity, kind) for kind in Kind], counts=number > 0)
        smallest = meters[min(meters)]
        found += [{"case": case, "items": items} | meter.row(smallest) for items, meter in meters.items()]
    return found


def _read_in(engine: Engine) -> None:
    """Have the server of this connection see tables and indexes once: a worker's connection lives for days, and what
    it takes to see each page for the first time is not growth. What has no room in `shared_buffers` goes again."""
    with engine.begin() as connection:
        connection.execute(sql("SET LOCAL statement_timeout = 0"))
        connection.execute(sql("CREATE EXTENSION IF NOT EXISTS pg_prewarm"))
        connection.execute(
            sql(
                "SELECT pg_prewarm(oid) FROM (SELECT oid FROM pg_class WHERE relkind IN ('r', 'i')"
                " AND relnamespace = 'public'::regnamespace ORDER BY relkind DESC) AS relations"
            )
        )


class _Meter:
    """What one database takes for one case."""

    def __init__(self, filled: Filled) -> None:
        self.filled = filled
        self._sink = Sink(filled.engine)
        self._server = backend_pid(filled.engine)
        self.wall_s: list[float] = []
        self.here_s: list[float] = []
        self.server_s: list[float] = []
        self.wal_bytes: list[float] = []

    def once(self, batches: Sequence[Sequence[Outcome]], *, counts: bool) -> None:
        """Write these."""
        wal_before = wal_bytes(self.filled.engine)
        server_s, here_s, wall_s = on_cpu_s(self._server), time.process_time(), time.perf_counter()
        for outcomes in batches:
            self._sink.write(outcomes, datetime.now(UTC))
        took = time.perf_counter() - wall_s, time.process_time() - here_s, on_cpu_s(self._server) - server_s
        if counts:
            self.wall_s.append(took[0])
            self.here_s.append(took[1])
            self.server_s.append(took[2])
            self.wal_bytes.append(wal_bytes(self.filled.engine) - wal_before)

    def row(self, smallest: _Meter) -> dict[str, Any]:
        """Medians per item; the ratio is that of whole rounds' processor time, here and in Postgres together."""
        processor = [a + b for a, b in zip(self.here_s, self.server_s, strict=True)]
        other = [a + b for a, b in zip(smallest.here_s, smallest.server_s, strict=True)]
        return {
            "wall_us": _per_item_us(self.wall_s),
            "here_us": _per_item_us(self.here_s),
            "server_us": _per_item_us(self.server_s),
            "wal_bytes": statistics.median(self.wal_bytes) / ROUND_ITEMS,
            "processor_ratio": statistics.median(a / b for a, b in zip(processor, other, strict=True)),
            "wall_ratio": statistics.median(a / b for a, b in zip(self.wall_s, smallest.wall_s, strict=True)),
            "rounds": {"wall_s": self.wall_s, "here_s": self.here_s, "server_s": self.server_s},
        }


def wal_bytes(engine: Engine) -> float:
    """Of write-ahead log that the server has made so far."""
    with engine.connect() as connection:
        return float(connection.execute(sql("SELECT pg_current_wal_insert_lsn() - '0/0'")).scalar_one())


def _batch(filled: Filled, identity: Callable[[Filled], tuple[str, str]], kind: Kind) -> list[Outcome]:
    entry_ms = time.time_ns() // 1_000_000
    made: list[Outcome] = []
    for place in range(MOST_WRITTEN_ENTRIES):
        source, item_id = identity(filled)
        like = outcome(kind, item_id, f"{entry_ms}-{place}", filled.rng)
        entry, now = like.entry, like.entry.updated_at
        own = Entry(entry.lane, entry.entry_id, item_id, entry.text, source, kind, created_at=now, updated_at=now)
        made.append(Done(own, like.predictions, like.assignment))
    return made


def _per_item_us(seconds: list[float]) -> float:
    return statistics.median(seconds) / ROUND_ITEMS * 1e6
