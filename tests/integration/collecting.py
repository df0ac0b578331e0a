"""A collector and its slots on a real Redis, with a model and a table made of Python lists."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from schemas.messages import RawEntry, decode
from schemas.names import GROUP, Lane, ReplyStatus
from schemas.settings import Settings
from worker.collector import Collector
from worker.draft import Draft, Work
from worker.held import Held
from worker.inbox import Inbox, connect
from worker.metrics import Metrics
from worker.outcome import Dead, Done, Outcome
from worker.pace import Pace
from worker.settling import Write
from worker.share import Share
from worker.slot import KEEP_S, Classify, Slot


class Harness:
    """A collector on a thread pool of its own, with a model and a table made of Python lists."""

    def __init__(
        self,
        settings: Settings,
        slots: int = 2,
        consumer: str = "first",
        pace: Pace | None = None,
        keep_s: float = KEEP_S,
        classify: Classify | None = None,
        write: Write | None = None,
        worth_a_slot: int = 1_000_000,
    ) -> None:
        self.settings = settings
        self.batches: list[list[RawEntry]] = []
        self.written: list[Outcome] = []
        self.events: list[tuple[str, list[str]]] = []
        self.before_write: Callable[[Sequence[Outcome]], None] = lambda outcomes: None
        self.in_model: Callable[[Sequence[RawEntry]], None] = lambda entries: None
        self.stopping = threading.Event()
        self.held = Held()
        self.metrics = Metrics()
        self.client = connect(settings, read_block_s=1)
        self.inbox = Inbox(self.client, settings.keys, consumer)
        self.inbox.ensure_groups()
        self._pool = ThreadPoolExecutor(slots)
        self._lock = threading.Lock()
        share = Share(settings.bulk_share, lambda: settings.batch_entries)
        slot = Slot(
            inbox=self.inbox,
            held=self.held,
            classify=classify or self,
            write=write or self._write,
            pace=pace or Pace(1e9),
            share=share,
            slots=slots,
            settings=settings,
            metrics=self.metrics,
            stopping=self.stopping,
            on_settled=lambda items: None,
            keep_s=keep_s,
        )
        self.collector = Collector(
            inbox=self.inbox,
            held=self.held,
            slots=slots,
            submit=self._submit,
            slot=slot,
            worth_a_slot=lambda: worth_a_slot,
            share=share,
            settings=settings,
            metrics=self.metrics,
            stopping=self.stopping,
        )

    def _submit(self, run: Callable[[], None]) -> None:
        self._pool.submit(run)

    def read(self, entries: Sequence[RawEntry]) -> list[Draft]:
        """Every entry counts for one token."""
        return [Draft(entry, decode(entry, self.settings.keys), Work(), 1.0) for entry in entries]

    def classify(self, drafts: Sequence[Draft], now: datetime) -> list[Outcome]:
        """Finds nothing in any of them."""
        entries = [draft.raw for draft in drafts]
        with self._lock:
            self.batches.append(entries)
            self.events.append(("model", [entry.fields[b"id"].decode() for entry in entries]))
        self.in_model(entries)
        return [Done(decode(entry, self.settings.keys), ()) for entry in entries]

    def _write(self, outcomes: Sequence[Outcome], received_at: datetime) -> list[ReplyStatus]:
        self.before_write(outcomes)
        with self._lock:
            self.written.extend(outcomes)
            self.events.append(("written", [outcome.entry.id for outcome in outcomes if not isinstance(outcome, Dead)]))
        return [ReplyStatus.DEAD if isinstance(outcome, Dead) else ReplyStatus.OK for outcome in outcomes]

    def lanes(self) -> str:
        """The lanes of all entries in the order in which they went into the model, `l` or `b` for each."""
        return "".join(entry.lane.value[0] for batch in self.batches for entry in batch)

    def ids(self) -> list[str]:
        """Ids of the items written, in order."""
        with self._lock:
            return [outcome.entry.id for outcome in self.written if isinstance(outcome, Done)]

    def stop(self) -> bool:
        """Stop as the worker does; whether all slots came free."""
        self.stopping.set()
        if self.collector.is_alive():
            self.collector.join(10)
        drained = self.collector.drained(10)
        self._pool.shutdown()
        return drained


class FixedPace(Pace):
    """So many entries make a portion, whatever they take."""

    def __init__(self, entries: int) -> None:
        super().__init__(1.0)
        self._entries = entries

    def cost_ms(self, draft: Draft) -> float:
        """The same for all."""
        return 1.0 / self._entries

    def usual_entries(self) -> int:
        """As given."""
        return self._entries

    def learn(self, drafts: Sequence[Draft], took_ms: float) -> None:
        """Nothing is learnt."""


def add(client: Any, settings: Settings, names: Sequence[str], lane: Lane = Lane.LIVE, **fields: str) -> None:
    for name in names:
        client.xadd(settings.keys.inbox(lane), {"id": name, "text": "好", **fields})


def left(client: Any, settings: Settings) -> tuple[int, int]:
    """Entries in both inboxes, and how many of them are pending."""
    keys = settings.keys.inboxes.values()
    return sum(client.xlen(key) for key in keys), sum(client.xpending(key, GROUP)["pending"] for key in keys)
