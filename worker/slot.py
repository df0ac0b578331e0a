"""What one slot does with one batch: portion by portion through the model, settled part by part, live in between.

Runs in a thread of Celery's pool. Bulk goes through the model in portions of about bulk_batch_ms; after each, live
entries that wait have their turn, completely, before bulk goes on. Which batch a slot gets is `worker.collector`'s
decision, how large a portion is `worker.pace`'s, whose turn it is `worker.share`'s.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Final, Protocol

import structlog

from schemas.errors import Code, InboxUnavailableError
from schemas.messages import RawEntry, identity_of
from schemas.names import Lane
from schemas.settings import Settings
from worker.draft import Draft
from worker.held import Held, Key
from worker.inbox import Inbox
from worker.metrics import Metrics, Phase
from worker.outcome import Dead, Done, Outcome
from worker.pace import Pace, by_size
from worker.settling import LostError, Patience, Settling, StoppingError, Write
from worker.share import Share

log = structlog.get_logger(__name__)

KEEP_S: Final = 1.0
"""Longest that finished outcomes wait for those of the rest of their part before they are written."""

MOST_WRITTEN_ENTRIES: Final = 128
"""Entries in one transaction: writing tickets takes some 0.2 ms each, and live waits meanwhile."""


LIVE_PORTIONS: Final = 4
"""Portions of time in which live goes through the model: nobody is let in between, only deadlines are looked at."""

FULL_BEFORE_MORE: Final = 3
"""Times that live fills what it may take before it may take twice as much."""


class Classify(Protocol):
    """Entries in, outcomes out, in two steps; `worker.pipeline.Pipeline` in production."""

    def read(self, entries: Sequence[RawEntry]) -> list[Draft]:
        """One draft for each entry, in order."""

    def classify(self, drafts: Sequence[Draft], now: datetime) -> list[Outcome]:
        """One outcome for each draft, in order."""


class _Hand:
    """One batch while it is worked off. `rest`: not settled yet; `finished`: of these, what the model is done with."""

    def __init__(self, batch: Sequence[RawEntry], poison_after: int) -> None:
        self.rest = {(entry.lane, entry.entry_id): entry for entry in batch}
        self.finished: list[tuple[RawEntry, Outcome]] = []
        self.received_at = datetime.now(UTC)
        self.begun_s = time.monotonic()
        self.finished_since_s = 0.0
        self.let_live_first = False
        self.suspect = any(entry.deliveries > poison_after for entry in batch)

    def finish(self, entries: Sequence[RawEntry], outcomes: Sequence[Outcome]) -> None:
        """These have an outcome now."""
        if not self.finished:
            self.finished_since_s = time.monotonic()
        self.finished += zip(entries, outcomes, strict=True)


class Slot:
    """Works off batches; one instance serves all threads of the pool."""

    def __init__(
        self,
        *,
        inbox: Inbox,
        held: Held,
        classify: Classify,
        write: Write,
        pace: Pace,
        share: Share,
        settings: Settings,
        metrics: Metrics,
        stopping: threading.Event,
        on_settled: Callable[[int], None],
        keep_s: float = KEEP_S,
    ) -> None:
        self._inbox = inbox
        self._held = held
        self._classify = classify
        self._pace = pace
        self._share = share
        self._settings = settings
        self._metrics = metrics
        self._stopping = stopping
        self._on_settled = on_settled
        self._keep_s = keep_s
        self._patiently = Patience(stopping, settings.retry_max_s, metrics)
        self._settling = Settling(
            inbox=inbox,
            write=write,
            any_lost=lambda entries: bool(self._lost(entries)),
            patiently=self._patiently,
            settings=settings,
            metrics=metrics,
        )

    def work(self, batch: Sequence[RawEntry]) -> None:
        """Work off `batch`, live before bulk, part by part.

        An error that nothing here expects leaves the rest pending and unrefreshed: it is claimed after
        claim_idle_s, and its deliveries count.
        """
        with contextlib.suppress(StoppingError), self._metrics.slots_busy.track_inprogress():
            self._work(batch)

    def _work(self, batch: Sequence[RawEntry]) -> None:
        """As `work`. Raises StoppingError after the rest has been given back."""
        hand = _Hand(batch, self._settings.poison_after)
        try:
            for lane in Lane:
                of_lane = [entry for entry in batch if entry.lane is lane]
                for part in parts(of_lane, self._settings.batch_chars):
                    self._work_part(lane, part, hand)
        except StoppingError:
            self._give_back(hand, list(hand.rest.values()))
            raise
        except Exception:  # nobody waits for it: the pool forgets what it runs, and bulk goes on after its live entries
            log.exception("batch_failed", entries=len(hand.rest))
        finally:
            self._held.remove(list(hand.rest.values()))

    def _work_part(self, lane: Lane, part: Sequence[RawEntry], hand: _Hand) -> None:
        if lane is Lane.BULK:
            self._let_live_first(1, hand)
        waiting = by_size(self._drafts(part, hand))
        while waiting:
            portion = self._pace.portion(waiting, LIVE_PORTIONS if lane is Lane.LIVE else 1)
            if lane is Lane.BULK:
                self._let_live_first(len(portion), hand)
                if self._overstays(hand):
                    self._settle(hand)
                    self._give_back(hand, [draft.raw for draft in waiting])
                    return
            self._share.taken(lane, len(portion))
            self._metrics.portion(lane, len(portion))
            hand.finish([draft.raw for draft in portion], self._patiently(partial(self._classified, portion)))
            del waiting[: len(portion)]
            if not waiting or len(hand.finished) >= MOST_WRITTEN_ENTRIES or self._kept_long(hand):
                if lane is Lane.BULK:
                    self._let_live_first(1, hand)
                self._settle(hand)
        self._settle(hand)

    def _drafts(self, part: Sequence[RawEntry], hand: _Hand) -> list[Draft]:
        """What is to go through the model; what ended its worker too often is finished without."""
        limit = 2 * self._settings.poison_after
        poison = [entry for entry in part if entry.deliveries > limit]
        hand.finish(poison, [_poisoned(entry) for entry in poison])
        with self._held.in_model(), self._metrics.seconds[Phase.READ].time():
            return self._classify.read([entry for entry in part if entry.deliveries <= limit])

    def _let_live_first(self, entries: int, hand: _Hand) -> None:
        """Work off the live entries that wait, before the next `entries` of bulk, as far as bulk's share allows.

        At first no more than a portion of them at once, so that other slots take their part of a burst; more when there
        is no end of them, since a commit for a few costs as much as one for many. Not before a suspect, for which all
        other slots stand still.
        """
        if hand.suspect:
            return
        most, full = self._pace.usual_entries(), 0
        while not (self._stopping.is_set() or self._share.bulk_first(entries) or self._overstays(hand)):
            try:
                live = self._inbox.read(Lane.LIVE, min(most, self._settings.batch_entries))
            except InboxUnavailableError:
                return  # bulk in hand needs no Redis until it is settled, which waits patiently
            if not live:
                return
            full = full + 1 if len(live) >= most else 0
            most *= 2 if full >= FULL_BEFORE_MORE else 1
            hand.let_live_first = True
            self._held.add(live)
            self._metrics.batch(live)
            self._work(live)
            if self._kept_long(hand):
                self._settle(hand)

    def _classified(self, portion: Sequence[Draft]) -> list[Outcome]:
        begun_s = time.perf_counter()
        with self._held.in_model():
            outcomes = self._classify.classify(portion, datetime.now(UTC))
        took_s = time.perf_counter() - begun_s
        done = [(draft, outcome) for draft, outcome in zip(portion, outcomes, strict=True) if isinstance(outcome, Done)]
        ran = [draft for draft, outcome in done if not outcome.remembered]
        self._pace.learn(ran, took_s * 1000)
        self._metrics.classified(len(ran), len(done) - len(ran), took_s)
        return outcomes

    def _overstays(self, hand: _Hand) -> bool:
        """Whether live has kept this slot for so long that it should come free: dead workers' entries wait for that."""
        age_s = time.monotonic() - hand.begun_s
        return hand.let_live_first and age_s >= self._settings.claim_idle_s and not self._stopping.is_set()

    def _give_back(self, hand: _Hand, entries: Sequence[RawEntry]) -> None:
        self._held.let_go(entries)
        for entry in entries:
            del hand.rest[entry.lane, entry.entry_id]
        self._inbox.give_back(entries)

    def _kept_long(self, hand: _Hand) -> bool:
        return bool(hand.finished) and time.monotonic() - hand.finished_since_s >= self._keep_s

    def _settle(self, hand: _Hand) -> None:
        if not hand.finished:
            return
        self._drop_lost(hand)
        entries = [entry for entry, _ in hand.finished]
        if entries:
            try:
                self._settling.settle(entries, [outcome for _, outcome in hand.finished], hand.received_at)
            except LostError:
                self._settle(hand)
                return
        hand.finished = []
        self._held.remove(entries)
        for entry in entries:
            del hand.rest[entry.lane, entry.entry_id]
        self._on_settled(len(entries))

    def _drop_lost(self, hand: _Hand) -> None:
        """Do not write what others have settled while this process stood still: its item may have been erased since."""
        entries = [entry for entry, _ in hand.finished]
        lost = self._patiently(lambda: self._lost(entries))
        if not lost:
            return
        log.warning("settled_by_others", entries=len(lost))
        dropped = [entry for entry in entries if (entry.lane, entry.entry_id) in lost]
        hand.finished = [pair for pair in hand.finished if (pair[0].lane, pair[0].entry_id) not in lost]
        self._held.remove(dropped)
        for entry in dropped:
            del hand.rest[entry.lane, entry.entry_id]

    def _lost(self, entries: Sequence[RawEntry]) -> set[Key]:
        """Those of `entries` that others have settled; asks Redis if it may be so. Raises InboxUnavailableError."""
        if self._held.unsure(entries, self._settings.claim_idle_s / 2):
            self._held.refresh(self._inbox.refresh)
        return self._held.lost(entries)


def parts(batch: Sequence[RawEntry], most_chars: int) -> Iterator[list[RawEntry]]:
    """Cut a batch so that no part holds more than `most_chars` of text, but for one over-long entry alone.

    Bytes stand for characters: a Chinese character is three of them, and cheap to count.
    """
    part: list[RawEntry] = []
    size_bytes = 0
    for entry in batch:
        entry_bytes = len(entry.fields.get(b"text", b""))
        if part and size_bytes + entry_bytes > 3 * most_chars:
            yield part
            part, size_bytes = [], 0
        part.append(entry)
        size_bytes += entry_bytes
    if part:
        yield part


def _poisoned(entry: RawEntry) -> Dead:
    message = f"ended its worker {entry.deliveries - 1} times; it was not tried again"
    return Dead(entry, Code.POISON, "text", message, identity_of(entry))
