"""What an item takes from XADD to committed row in small and large databases: worker with its model, Postgres, Redis.

Each of the databases that `benchmarks.growing_tables` has filled in one Postgres gets a worker with default settings
and inboxes of its own in one Redis. All workers run all along, and one has work at a time: in a round, the same texts
go through each in turn, so that drift of the machine hits all. Items are new comments whose ids stand anywhere among
the known ones, as random ids do: ids in order touch fewer pages.

Postgres is all of its processes, so what its checkpointer or autovacuum does in a slice counts for whatever database
that slice is of: medians over rounds leave out the rare, not what is always there. What the other workers take while
they wait is in every slice alike. The sender is no part of it.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import redis
from sqlalchemy import text as sql

from benchmarks.growing_tables import Filled, wal_bytes
from benchmarks.inbox import items_worked_off
from benchmarks.pipeline import dealt
from benchmarks.processor import WHOSE, Processors, postmaster_of
from benchmarks.stack import running_worker
from benchmarks.texts import distinct_texts
from schemas.settings import Settings

_STORED = sql(
    """
    SELECT count(*) FROM predictions
    JOIN unnest(CAST(:sources AS text[]), CAST(:ids AS text[])) AS sent (source, item_id) USING (source, item_id)
    WHERE current
    """
)


def growth_of_pipeline(databases: Mapping[int, Filled], rounds: int, texts: int) -> list[dict[str, Any]]:
    """For each size: microseconds per item on the clock, of processor time by whose it is and together, bytes of WAL,
    and the median ratio to the smallest database in the same round. A round is `texts` items through each; one more
    comes first and does not count."""
    first = databases[min(databases)]
    slices = dealt(distinct_texts((rounds + 1) * texts), min(first.settings.batch_entries, texts))
    with ExitStack() as running, redis.Redis.from_url(first.settings.redis_url) as client:
        sides = []
        for items, filled in sorted(databases.items()):
            # Remembering texts costs something even where none comes again, and is the default.
            own = {"prefix": f"items-{items}", "memory_texts": filled.settings.memory_texts}
            settings = filled.settings.model_copy(update=own)
            worker = running.enter_context(running_worker(settings))
            processors = Processors(worker.pid, postmaster_of(filled.settings), client)
            sides.append(_Side(filled, settings, worker, client, processors, texts))
        for number in range(rounds + 1):
            some = slices[number * texts : (number + 1) * texts]
            for side in sides if number % 2 else reversed(sides):
                took = side.take(some)
                if number:
                    side.took.append(took)
    return [{"items": side.filled.items, "texts": texts, "slices": rounds} | side.row(sides[0]) for side in sides]


@dataclass(frozen=True)
class _Side:
    """One database with its worker, and what each slice of so many texts took there."""

    filled: Filled
    settings: Settings
    worker: subprocess.Popen[bytes]
    client: redis.Redis
    processors: Processors
    texts: int
    took: list[dict[str, float]] = field(default_factory=list)

    def take(self, texts: Sequence[str]) -> dict[str, float]:
        """Seconds, bytes of WAL and rows of one slice. Ends the program if a row is missing."""
        sent = [self.filled.anywhere() for _ in texts]
        items = [
            {"source": source, "id": item_id, "text": text} for (source, item_id), text in zip(sent, texts, strict=True)
        ]
        wal_before, before_s = wal_bytes(self.filled.engine), self.processors.so_far()
        wall_s = items_worked_off(self.settings, self.client, self.worker, items)
        after_s = self.processors.so_far()
        wal_after = wal_bytes(self.filled.engine)
        rows = self._rows(sent)
        if rows != len(texts):
            sys.exit(f"{rows} rows for {len(texts)} texts: the measurement is worth nothing")
        used_s = {name: after_s[name] - before_s[name] for name in WHOSE}
        return {"wall_s": wall_s} | used_s | {"wal_bytes": wal_after - wal_before, "rows": rows}

    def row(self, smallest: _Side) -> dict[str, Any]:
        """Medians per item; the ratio is that of whole slices' processor time, everybody's together."""
        together, other = self.together_s(), smallest.together_s()
        clock = zip(self.took, smallest.took, strict=True)
        return {
            **{name.replace("_s", "_us"): self._per_item(name) * 1e6 for name in ("wall_s", *WHOSE)},
            "processor_us": statistics.median(together) / self.texts * 1e6,
            "wal_bytes": self._per_item("wal_bytes"),
            "processor_ratio": statistics.median(a / b for a, b in zip(together, other, strict=True)),
            "wall_ratio": statistics.median(a["wall_s"] / b["wall_s"] for a, b in clock),
            "rounds": self.took,
        }

    def together_s(self) -> list[float]:
        """Processor time of each slice, everybody's."""
        return [sum(took[name] for name in WHOSE) for took in self.took]

    def _per_item(self, name: str) -> float:
        return statistics.median(took[name] for took in self.took) / self.texts

    def _rows(self, sent: Sequence[tuple[str, str]]) -> int:
        sources, ids = zip(*sent, strict=True)
        with self.filled.engine.connect() as connection:
            return int(connection.execute(_STORED, {"sources": list(sources), "ids": list(ids)}).scalar_one())
