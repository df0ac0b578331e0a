"""What was sent, and therefore what must be in the tables in the end."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable, Iterator
from typing import Final

import redis
from sqlalchemy import Engine, text

from benchmarks.chaos.checks import check
from benchmarks.texts import sample_texts
from schemas.names import Keys, Kind

BAD, ERASED, OLD = "bad", "erased", "old"
"""Sources of entries that cannot be classified, of items that are erased, and of items that are pruned."""
_MOST_CHARS: Final = 120
_TICKET_EVERY: Final = 5
_SKIPPED: Final = ("dead letters", "tickets not announced exactly once")  # bad entries; announcements are pruned here
_CHECKS: Final = {
    "good entries among the dead letters": "SELECT count(*) FROM dead_letters WHERE source IS DISTINCT FROM 'bad'",
    "announcements left undelivered": "SELECT count(*) FROM outbox WHERE delivered_at IS NULL",
    "announcements with a failed delivery": "SELECT count(*) FROM deliveries WHERE state = 'failed'",
}
_BAD_LETTERS: Final = text("SELECT count(DISTINCT item_id) FROM dead_letters WHERE source = 'bad'")

Item = dict[str, str]


class Ledger:
    """Makes items, each with a text of its own, and keeps those that stay. Thread-safe."""

    def __init__(self, seed: int) -> None:
        self._lock = threading.Lock()
        self._random = random.Random(seed)  # noqa: S311 - what is sent, no secret
        self._texts = sample_texts()
        self._made = 0
        self._items: dict[tuple[str, str], Item] = {}
        self._keys: list[tuple[str, str]] = []
        self.bad = 0

    def __len__(self) -> int:
        return len(self._items)

    def new(self, source: str, count: int, *, kept: bool = True) -> list[Item]:
        """Items that were never there, every fifth a ticket; `kept`: they stay in the tables."""
        with self._lock:
            made = [self._make(source, str(self._made + number), self._made + number) for number in range(count)]
            self._made += count
            if kept:
                self._items |= {(source, item["id"]): item for item in made}
            return made

    def sent(self, items: Iterable[Item]) -> None:
        """These are in an inbox. Only now may they come again: what comes later must be newer."""
        with self._lock:
            self._keys += [key for item in items if (key := (item["source"], item["id"])) in self._items]

    def again(self, count: int) -> list[Item]:
        """Some that were sent before, as they were."""
        with self._lock:
            return [self._items[key] for key in self._some(count)]

    def changed(self, count: int) -> list[Item]:
        """Some that were sent before, with a new text."""
        with self._lock:
            found = []
            for source, item_id in self._some(count):
                self._made += 1
                item = self._make(source, item_id, self._made) | {"kind": self._items[source, item_id]["kind"]}
                self._items[source, item_id] = item
                found.append(item)
            return found

    def broken(self, count: int) -> list[Item]:
        """Entries that become dead letters, each for another reason."""
        with self._lock:
            faults: list[Item] = [{"text": ""}, {"text": "x" * 20_001}, {"text": "t", "kind": "parcel"}, {}]
            faults += [{"text": "t", "deadline": "soon"}, {"text": "t", "route_set": "none", "tasks": "routing"}]
            made = [{"id": str(self.bad + number), "source": BAD} | faults[number % 6] for number in range(count)]
            self.bad += count
            return made

    def check(self, engine: Engine, client: redis.Redis, keys: Keys) -> dict[str, int]:
        """How often something is not as it must be, once all is worked off."""
        found = check(engine, client, keys, self._items.values(), skip=_SKIPPED)
        with engine.connect() as connection:
            found |= {name: int(connection.execute(text(sql)).scalar_one()) for name, sql in _CHECKS.items()}
            found["bad entries without a dead letter"] = self.bad - int(connection.execute(_BAD_LETTERS).scalar_one())
        # A bad entry that has an identity has a row that says so.
        with engine.connect() as connection:
            named = int(connection.execute(text("SELECT count(*) FROM items WHERE source = 'bad'")).scalar_one())
        return found | {"items that nobody sent": found["items that nobody sent"] - named}

    def _make(self, source: str, item_id: str, number: int) -> Item:
        kind = Kind.TICKET if number % _TICKET_EVERY == 0 else Kind.COMMENT
        words = f"{number}：{self._texts[number % len(self._texts)][:_MOST_CHARS]}"
        return {"id": item_id, "source": source, "kind": kind.value, "text": words}

    def _some(self, count: int) -> Iterator[tuple[str, str]]:
        if self._keys:
            yield from dict.fromkeys(self._random.choice(self._keys) for _ in range(count))
