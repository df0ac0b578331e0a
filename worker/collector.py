"""The collector: a thread that fills free slots from the inboxes, and does nothing else.

It reads when a slot is free and at no other time, so that the stream is the only buffer; when there is nothing to
read, the slot gets half of what another one has left. It hands a batch to a thread of Celery's pool; what happens
there is `worker.slot`'s.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import structlog

from schemas.errors import InboxUnavailableError
from schemas.messages import RawEntry
from schemas.names import Lane
from schemas.settings import Settings
from worker.hand import Hand
from worker.held import Held
from worker.inbox import Inbox, Stale
from worker.metrics import Metrics
from worker.share import Share
from worker.slot import Slot

log = structlog.get_logger(__name__)

_TICK_S = 0.1
_HALF_S = 0.005  # until a batch just taken is tokenized, and half of it can be had
_LOOK_S = 1.0  # released entries are free at once, whatever claim_idle_s is


class Collector(threading.Thread):
    """Reads for `slots` slots until `stopping` is set."""

    def __init__(
        self,
        *,
        inbox: Inbox,
        held: Held,
        slots: int,
        submit: Callable[[Callable[[], None]], None],
        slot: Slot,
        worth_a_slot: Callable[[], int],
        share: Share,
        settings: Settings,
        metrics: Metrics,
        stopping: threading.Event,
    ) -> None:
        """`worth_a_slot`: how few entries are worth a slot, and a transaction, of their own."""
        super().__init__(name="collector", daemon=True)
        self._inbox = inbox
        self._held = held
        self._slots = slots
        self._free = threading.Semaphore(slots)
        self._submit = submit
        self._slot = slot
        self._worth_a_slot = worth_a_slot
        self._settings = settings
        self._metrics = metrics
        self._stopping = stopping
        self._share = share
        self._shared_out: tuple[Lane, int, int] = (Lane.LIVE, 0, 0)  # entries of a part, and parts not yet taken
        self._next_claim_at = 0.0
        self._look_s = min(_LOOK_S, settings.claim_idle_s / 4)

    def run(self) -> None:
        """Fill free slots until told to stop, whatever happens to Redis meanwhile."""
        pause_s = _TICK_S
        grouped = False
        # What is new goes first: what was left may be what ended the worker before this one, and end this one too.
        self._next_claim_at = time.monotonic() + self._look_s
        while not self._stopping.is_set():
            if not self._free.acquire(timeout=_TICK_S):
                continue
            if self._stopping.is_set():  # told while it waited; a read would only have to be given back
                self._free.release()
                break
            taken = 1
            try:
                if not grouped:
                    self._inbox.ensure_groups()
                    grouped = True
                left = self._left_by_others()
                suspect = next((entry for entry in left if entry[1].deliveries >= self._settings.poison_after), None)
                if suspect is not None:
                    taken += self._take_other_slots()
                    hand = self._in_hand(self._claim_suspect(*suspect) if taken == self._slots else [])
                else:
                    hand = self._in_hand(self._claim_sound(left)) or self._next()
                pause_s = _TICK_S
            except InboxUnavailableError as error:
                self._free.release(taken)
                self._metrics.retried(error)
                log.warning("inbox_away", reason=str(error)[:200], pause_s=pause_s)
                self._stopping.wait(pause_s)
                pause_s = min(pause_s * 2, self._settings.retry_max_s)
                continue
            if hand:
                self._hand_over(hand, taken)
            else:
                self._free.release(taken)

    def drained(self, timeout_s: float) -> bool:
        """Wait until every slot is free. Call after `stopping` is set and this thread has ended."""
        until = time.monotonic() + timeout_s
        freed = 0
        while freed < self._slots and self._free.acquire(timeout=max(0.0, until - time.monotonic())):
            freed += 1
        self._free.release(freed)
        return freed == self._slots

    def _hand_over(self, hand: Hand, taken: int) -> None:
        def run() -> None:
            try:
                self._slot.work(hand)
            finally:
                self._free.release(taken)

        try:
            if not self._stopping.is_set():
                self._submit(run)
                return
        except RuntimeError as error:  # the pool has been shut down under us
            log.warning("pool_closed", reason=str(error))
        self._slot.give_back(hand)
        self._free.release(taken)

    def _in_hand(self, entries: Sequence[RawEntry]) -> Hand | None:
        return self._slot.take(entries) if entries else None

    def _next(self) -> Hand | None:
        """A batch of what is new, else half of what another slot has left, else whatever comes within idle_poll_s."""
        for lane in self._share.order():
            most = self._part(lane)
            entries = self._inbox.read(lane, most) if most else []
            if entries:
                return self._slot.take(entries)
        half = self._slot.half()
        if half is not None:
            return half
        wait_s = _HALF_S if self._slot.reading() else self._settings.idle_poll_s
        return self._in_hand(self._inbox.wait(self._settings.batch_entries, min(wait_s, self._settings.idle_poll_s)))

    def _part(self, lane: Lane) -> int:
        """How many entries of an inbox this slot should take: of what waits, as many as each of the others after it."""
        waiting = self._inbox.waiting(lane)
        if not waiting:
            return self._settings.batch_entries if waiting is None else 0
        shared_lane, part, parts_left = self._shared_out
        if shared_lane is not lane or parts_left == 0 or waiting > part * parts_left:
            part, parts_left = max(-(-waiting // self._slots), self._worth_a_slot()), self._slots
        self._shared_out = lane, part, parts_left - 1
        return min(part, self._settings.batch_entries)

    def _left_by_others(self) -> list[tuple[Lane, Stale]]:
        """What dead workers left, live first; looked for every second, and on while there is some.

        What is in hand here is not left, even if the pulse is late.
        """
        if time.monotonic() < self._next_claim_at:
            return []
        most, idle_s = self._settings.batch_entries, self._settings.claim_idle_s
        left = [
            (lane, stale)
            for lane in Lane
            for stale in self._inbox.stale(lane, idle_s, most)
            if not self._held.holds(lane, stale.entry_id)
        ]
        if not left:
            self._next_claim_at = time.monotonic() + self._look_s
        return left

    def _claim_suspect(self, lane: Lane, suspect: Stale) -> list[RawEntry]:
        """Only this one is claimed, so that only its own failures count against it."""
        log.warning("runs_alone", lane=lane.value, entry_id=suspect.entry_id, deliveries=suspect.deliveries + 1)
        claimed = self._inbox.claim(lane, [suspect], self._settings.claim_idle_s)
        self._metrics.claimed(lane, len(claimed))
        return claimed

    def _claim_sound(self, left: Sequence[tuple[Lane, Stale]]) -> list[RawEntry]:
        """Up to a batch of one inbox of what is left, as far as no other worker was quicker."""
        for lane in Lane:
            of_lane = [stale for stale_lane, stale in left if stale_lane is lane]
            if of_lane:
                claimed = self._inbox.claim(lane, of_lane, self._settings.claim_idle_s)
                self._metrics.claimed(lane, len(claimed))
                log.info("claimed", lane=lane.value, entries=len(claimed))
                if claimed:
                    return claimed
        return []

    def _take_other_slots(self) -> int:
        """Wait for all other slots: a suspect that ends the process must not take neighbours with it."""
        taken = 0
        while taken < self._slots - 1 and not self._stopping.is_set():
            taken += self._free.acquire(timeout=_TICK_S)
        return taken
