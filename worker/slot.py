"""What one slot does with one batch: portion by portion through the model, settled part by part, live in between.

Runs in a thread of Celery's pool. Bulk goes through the model in portions of about bulk_batch_ms; after each, live
entries that wait have their turn, completely, before bulk goes on. Which batch a slot gets is `worker.collector`'s
decision, how large a portion is `worker.pace`'s, whose turn it is `worker.share`'s; what is left of it is
`worker.hand`'s to know.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Final, Protocol

import structlog

from schemas.errors import Code, InboxUnavailableError
from schemas.messages import RawEntry, identity_of
from schemas.names import Lane
from schemas.settings import Settings
from worker.draft import Draft
from worker.hand import Hand
from worker.held import Held, Key
from worker.inbox import Inbox
from worker.metrics import Metrics, Phase
from worker.outcome import Dead, Done, Outcome
from worker.pace import Pace
from worker.settling import LostError, Patience, Settling, StoppingError, Write
from worker.share import Share

log = structlog.get_logger(__name__)

KEEP_S: Final = 1.0
"""Longest that finished outcomes wait for those of the rest of their part before they are written."""

MOST_WRITTEN_ENTRIES: Final = 128
"""Entries in one transaction: writing tickets takes some 0.2 ms each, and live waits meanwhile."""


LIVE_PORTIONS: Final = 4
"""Portions of time in which live goes through the model: in between only deadlines are looked at."""

FULL_BEFORE_MORE: Final = 3
"""Times that live fills what it may take before it may take twice as much."""


class Classify(Protocol):
    """Entries in, outcomes out, in two steps; `worker.pipeline.Pipeline` in production."""

    def read(self, entries: Sequence[RawEntry]) -> list[Draft]:
        """One draft for each entry, in order."""

    def classify(self, drafts: Sequence[Draft], now: datetime) -> list[Outcome]:
        """One outcome for each draft, in order."""


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
        slots: int,
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
        self._slots = slots
        self._settings = settings
        self._metrics = metrics
        self._stopping = stopping
        self._on_settled = on_settled
        self._keep_s = keep_s
        self._lock = threading.Lock()
        self._hands: set[Hand] = set()
        self._patiently = Patience(stopping, settings.retry_max_s, metrics)
        self._settling = Settling(
            inbox=inbox,
            write=write,
            any_lost=lambda entries: bool(self._lost(entries)),
            patiently=self._patiently,
            settings=settings,
            metrics=metrics,
        )

    def take(self, batch: Sequence[RawEntry]) -> Hand:
        """Take `batch`, just read or claimed, in hand; `work` is to follow, or `give_back`."""
        self._held.add(batch)
        self._metrics.batch(batch)
        most_chars, poison_after = self._settings.batch_chars, self._settings.poison_after
        return self._known(Hand.of(batch, most_chars=most_chars, poison_after=poison_after))

    def half(self) -> Hand | None:
        """Half of what the hand with the most left has left, live before bulk, for a slot that has nothing to do."""
        with self._lock:
            hands = list(self._hands)
        hands.sort(key=lambda hand: (hand.lane is Lane.BULK, -hand.portions_left(self._pace)))
        halves = (hand.half(self._pace) for hand in hands)
        given = next((half for half in halves if half is not None), None)
        return given and self._known(given)

    def reading(self) -> bool:
        """Whether there may soon be a `half` where there is none yet."""
        with self._lock:
            return any(hand.reading and len(hand.rest) > self._pace.usual_entries() for hand in self._hands)

    def work(self, hand: Hand) -> None:
        """Work it off, live before bulk, part by part.

        An error that nothing here expects leaves the rest pending and unrefreshed: it is claimed after
        claim_idle_s, and its deliveries count.
        """
        with contextlib.suppress(StoppingError), self._metrics.slots_busy.track_inprogress():
            self._work(hand)

    def give_back(self, hand: Hand) -> None:
        """Give back to the inbox what of it is not settled."""
        self._forget(hand)
        entries = hand.entries()
        self._held.let_go(entries)
        hand.settled(entries)
        self._inbox.give_back(entries)

    def _known(self, hand: Hand) -> Hand:
        with self._lock:
            self._hands.add(hand)
        return hand

    def _forget(self, hand: Hand) -> None:
        with self._lock:
            self._hands.discard(hand)

    def _work(self, hand: Hand) -> None:
        """As `work`. Raises StoppingError after the rest has been given back."""
        try:
            self._work_off(hand)  # a half of what waited has been read already
            while part := hand.part():
                self._read(part, hand)
                self._work_off(hand)
        except StoppingError:
            self.give_back(hand)
            raise
        except Exception:  # nobody waits for it: the pool forgets what it runs, and bulk goes on after its live entries
            log.exception("batch_failed", entries=len(hand.rest))
        finally:
            self._forget(hand)
            self._held.remove(hand.entries())

    def _work_off(self, hand: Hand) -> None:
        bulk = hand.lane is Lane.BULK
        while portion := hand.portion(self._pace) if bulk else self._live_portion(hand):
            if bulk:
                self._let_live_first(len(portion), hand)
                if self._overstays(hand):
                    self._settle(hand)
                    self.give_back(hand)
                    return
            self._share.taken(hand.lane, len(portion))
            self._metrics.portion(hand.lane, len(portion))
            hand.finish([draft.raw for draft in portion], self._patiently(partial(self._classified, portion)))
            if hand.empty() or len(hand.finished) >= MOST_WRITTEN_ENTRIES or self._kept_long(hand):
                if bulk:
                    self._let_live_first(1, hand)
                self._settle(hand)
        self._settle(hand)

    def _live_portion(self, hand: Hand) -> list[Draft]:
        """More than one of bulk, and never less than fills a run: nobody is let in between."""
        return hand.portion(self._pace, LIVE_PORTIONS, self._settings.run_tokens, shared=self._slots > 1)

    def _read(self, part: Sequence[RawEntry], hand: Hand) -> None:
        """Make ready for the model; what ended its worker too often is finished without."""
        lane = part[0].lane
        if lane is Lane.BULK:
            self._let_live_first(1, hand)
        limit = 2 * self._settings.poison_after
        poison = [entry for entry in part if entry.deliveries > limit]
        hand.finish(poison, [_poisoned(entry) for entry in poison])
        with self._held.in_model(), self._metrics.seconds[Phase.READ].time():
            hand.wait(lane, self._classify.read([entry for entry in part if entry.deliveries <= limit]))

    def _let_live_first(self, entries: int, hand: Hand) -> None:
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
            self._work(self.take(live))
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

    def _overstays(self, hand: Hand) -> bool:
        """Whether live has kept this slot for so long that it should come free: dead workers' entries wait for that."""
        age_s = time.monotonic() - hand.begun_s
        return hand.let_live_first and age_s >= self._settings.claim_idle_s and not self._stopping.is_set()

    def _kept_long(self, hand: Hand) -> bool:
        return bool(hand.finished) and time.monotonic() - hand.finished_since_s >= self._keep_s

    def _settle(self, hand: Hand) -> None:
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
        hand.settled(entries)
        self._on_settled(len(entries))

    def _drop_lost(self, hand: Hand) -> None:
        """Do not write what others have settled while this process stood still: its item may have been erased since."""
        entries = [entry for entry, _ in hand.finished]
        lost = self._patiently(lambda: self._lost(entries))
        if not lost:
            return
        log.warning("settled_by_others", entries=len(lost))
        dropped = [entry for entry in entries if (entry.lane, entry.entry_id) in lost]
        hand.finished = [pair for pair in hand.finished if (pair[0].lane, pair[0].entry_id) not in lost]
        self._held.remove(dropped)
        hand.settled(dropped)

    def _lost(self, entries: Sequence[RawEntry]) -> set[Key]:
        """Those of `entries` that others have settled; asks Redis if it may be so. Raises InboxUnavailableError."""
        if self._held.unsure(entries, self._settings.claim_idle_s / 2):
            self._held.refresh(self._inbox.refresh)
        return self._held.lost(entries)


def _poisoned(entry: RawEntry) -> Dead:
    message = f"ended its worker {entry.deliveries - 1} times; it was not tried again"
    return Dead(entry, Code.POISON, "text", message, identity_of(entry))
