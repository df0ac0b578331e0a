"""Who uses this Fenliu during the soak: each kind of use, how often, and the threads that do it.

What is sent is `ledger`'s; what becomes of it is looked at elsewhere.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count, cycle
from typing import Any, Final

import redis
from sqlalchemy import Engine, text

from benchmarks.soak.ledger import ERASED, OLD, Item, Ledger
from benchmarks.stack import variables
from benchmarks.texts import SAMPLE
from producers.client import Client
from schemas.errors import FenliuError
from schemas.names import Lane
from schemas.routes import read_routes_file
from schemas.settings import Settings
from worker import processes, routes
from worker.desk import items as desk
from worker.desk.prune import Ages, prune

SHARE: Final = 0.4
TICK_S: Final = 0.25
BURST_EVERY_S, BURST_S = 30.0, 4.0
WAVE_EVERY_S, WAVE_S = 60.0, 15.0
AGAIN, CHANGED = 0.02, 0.02
BACKFILL_ITEMS: Final = 2_000
PAGES: Final = (
    "/dashboard", "/dashboard/live", "/review", "/dead-letters", "/quality", "/try", "/review/history", "/docs",
    "/healthz", "/readyz", "/metrics", "/openapi.json", "/no-such-page",
)  # fmt: skip
_PRUNED: Final = Ages(items=timedelta(days=180), announcements=timedelta(minutes=2))
_AGE: Final = text("UPDATE items SET received_at = now() - interval '400 days' WHERE source = :source")
_WAITING: Final = text("SELECT 1 FROM outbox WHERE delivered_at IS NULL LIMIT 1")


@dataclass
class Traffic:
    """`capacity_per_s`: items that the worker can do. `done` counts uses, `errors` those that failed and why."""

    settings: Settings
    engine: Engine
    client: Any
    sender: Client
    ledger: Ledger
    address: str
    capacity_per_s: float
    stop: threading.Event
    done: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)

    def uses(self) -> Iterator[tuple[str, float, Callable[[], None]]]:
        """Name, seconds between two, and what is done."""
        pages, numbers, versions = cycle(PAGES), count(), cycle((0.3, 0.35))
        yield "steady items", TICK_S, self._send_mixed
        yield "bursts", BURST_EVERY_S, lambda: self._send(self.ledger.new("burst", self._for(BURST_S)))
        yield "bulk waves", WAVE_EVERY_S, lambda: self._send(self.ledger.new("wave", self._for(WAVE_S)), Lane.BULK)
        yield "bad entries", 2.0, self._send_broken
        yield "questions by the client", 1.0, lambda: self._ask(next(numbers))
        yield "questions over HTTP", 0.5, lambda: self._predict(next(numbers))
        yield "items over HTTP", 2.0, self._post_items
        yield "pages", 1.0, lambda: self._look(next(pages))
        yield "erasures", 5.0, self._erase
        yield "prunes", 60.0, self._prune
        yield "route changes", 45.0, lambda: self._change_routes(next(versions))
        yield "backfills", 150.0, lambda: self._backfill(next(numbers))

    def every(self, name: str, seconds: float, use: Callable[[], None]) -> None:
        """Use it again and again until told to stop. What fails is counted, and the next one comes."""
        due_s = time.monotonic() + min(seconds, 5.0)
        while not self.stop.wait(max(0.0, due_s - time.monotonic())):
            try:
                use()
                self.done[name] += 1
            except (FenliuError, OSError, redis.RedisError, subprocess.SubprocessError) as error:
                self.errors[f"{name}: {type(error).__name__}: {error}"[:200]] += 1
            due_s = max(due_s + seconds, time.monotonic() - 5 * seconds)

    def _for(self, seconds: float) -> int:
        return max(1, round(seconds * SHARE * self.capacity_per_s))

    def _send_mixed(self) -> None:
        """New ones, and some again, in turn as they were and with a new text."""
        number = self._for(TICK_S)
        if self.done["steady items"] % 2:
            self.sender.enqueue_many(self.ledger.again(max(1, round(AGAIN * number))), wait_s=60.0)
        else:
            self.sender.enqueue_many(self.ledger.changed(max(1, round(CHANGED * number))), wait_s=60.0)
        self._send(self.ledger.new("steady", number))

    def _send(self, items: Sequence[Item], lane: Lane = Lane.LIVE) -> None:
        self.sender.enqueue_many(items, lane=lane, wait_s=60.0)
        self.ledger.sent(items)

    def _send_broken(self) -> None:
        for fields in self.ledger.broken(3):
            self.client.xadd(self.settings.keys.inbox(Lane.LIVE), fields)

    def _ask(self, number: int) -> None:
        self.sender.classify(f"{number}：物流太慢了，什么时候能到？", timeout_s=60.0)

    def _predict(self, number: int) -> None:
        body: dict[str, Any] = {"text": f"{number}: the parcel is late again"}
        if number % 5 == 0:  # labels of somebody's own, ever others
            body |= {"task": "routing", "labels": ["shipping", "billing", f"topic {number}"]}
        self._http("/v1/predict", body)

    def _post_items(self) -> None:
        items = self.ledger.new("gateway", 5)
        self._http("/v1/items", {"items": items})
        self.ledger.sent(items)

    def _look(self, path: str) -> None:
        self._http(path)

    def _erase(self) -> None:
        [item] = self.ledger.new(ERASED, 1, kept=False)
        self._send([item])
        desk.erase(self.engine, self.client, self.settings.keys, ERASED, item["id"], wait_s=60.0)

    def _prune(self) -> None:
        self._send(self.ledger.new(OLD, 50, kept=False))
        self.prune_old()

    def prune_old(self) -> None:
        """Let what is there of OLD grow old, and prune it."""
        with self.engine.begin() as connection:
            connection.execute(_AGE, {"source": OLD})
        prune(self.engine, _PRUNED)

    def is_told(self) -> bool:
        """Whether every announcement is delivered."""
        with self.engine.connect() as connection:
            return connection.execute(_WAITING).first() is None

    def _change_routes(self, threshold: float) -> None:
        found = read_routes_file(SAMPLE / "routes.yaml")
        changed = tuple(replace(label, threshold=threshold) for label in found.labels.labels)
        routes.apply(self.engine, replace(found, labels=replace(found.labels, labels=changed)), "soak")

    def _backfill(self, number: int) -> None:
        path = self.settings.home / "backfill.jsonl"
        made = self.ledger.new(f"backfill-{number}", BACKFILL_ITEMS)
        path.write_text("".join(json.dumps(item, ensure_ascii=False) + "\n" for item in made), encoding="utf-8")
        command = [sys.executable, "-m", "fenliu", "backfill", "start", str(path)]
        environment = processes.environment(self.settings) | variables(self.settings)
        subprocess.run(  # noqa: S603 - ours
            command, env=environment, check=True, capture_output=True, timeout=600, start_new_session=True
        )
        self.ledger.sent(made)

    def _http(self, path: str, body: dict[str, Any] | None = None) -> None:
        data = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        request = urllib.request.Request(self.address + path, data, {"Content-Type": "application/json"})  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - our own server
                answer.read()
        except urllib.error.HTTPError as error:
            error.read()
            if error.code >= 500 or path != "/no-such-page":
                raise


@contextmanager
def flowing(traffic: Traffic) -> Iterator[None]:
    """Every use on a thread of its own, until the end."""
    threads = [threading.Thread(target=traffic.every, args=use, daemon=True) for use in traffic.uses()]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        traffic.stop.set()
        for thread in threads:
            thread.join(700)
