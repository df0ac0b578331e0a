"""A batch in hand: what of it waits for the model, what is finished, what is not settled yet.

Two threads may know it: the one that works it off, and the collector, which takes half of what waits for a slot that
has nothing to do. What is done with it is `worker.slot`'s.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from schemas.messages import RawEntry
from schemas.names import Lane
from worker.draft import Draft
from worker.held import Key
from worker.outcome import Outcome
from worker.pace import Pace, by_size


class Hand:
    """`rest`: not settled yet; `finished`: of these, what the model is done with; `unread`: parts of it, each of one
    inbox, that are still to be tokenized; `reading`: whether one is about to wait for the model; `suspect`: whether
    something of it has ended workers before."""

    def __init__(
        self, batch: Sequence[RawEntry], unread: Sequence[list[RawEntry]] = (), *, suspect: bool = False
    ) -> None:
        self.rest: dict[Key, RawEntry] = {(entry.lane, entry.entry_id): entry for entry in batch}
        self.finished: list[tuple[RawEntry, Outcome]] = []
        self.unread = list(unread)
        self.reading = bool(unread)
        self._begun = False
        self.suspect = suspect
        self.lane = Lane.LIVE
        self.received_at = datetime.now(UTC)
        self.begun_s = time.monotonic()
        self.finished_since_s = 0.0
        self.let_live_first = False
        self._waiting: list[Draft] = []
        self._lock = threading.Lock()

    @classmethod
    def of(cls, batch: Sequence[RawEntry], *, most_chars: int, poison_after: int) -> Hand:
        """A batch just taken, live before bulk, in parts of about `most_chars`."""
        unread = [part for lane in Lane for part in parts([e for e in batch if e.lane is lane], most_chars)]
        return cls(batch, unread, suspect=any(entry.deliveries > poison_after for entry in batch))

    def entries(self) -> list[RawEntry]:
        """All that is not settled; from now on none of it is worked on or given away."""
        with self._lock:
            self._waiting, self.unread, self.reading = [], [], False
            return list(self.rest.values())

    def finish(self, entries: Sequence[RawEntry], outcomes: Sequence[Outcome]) -> None:
        """These have an outcome now."""
        if not self.finished:
            self.finished_since_s = time.monotonic()
        self.finished += zip(entries, outcomes, strict=True)

    def settled(self, entries: Sequence[RawEntry]) -> None:
        """These are no longer ours."""
        for entry in entries:
            del self.rest[entry.lane, entry.entry_id]

    def wait(self, lane: Lane, drafts: Sequence[Draft]) -> None:
        """These, of one inbox, are to go through the model, those of like length one after the other."""
        with self._lock:
            self.lane, self._waiting, self.reading = lane, by_size(drafts), False

    def part(self) -> list[RawEntry]:
        """What is to be tokenized next; nothing if all is."""
        with self._lock:
            self._begun, self.reading = True, bool(self.unread)
            return self.unread.pop(0) if self.unread else []

    def portion(self, pace: Pace, portions: float = 1, least_tokens: float = 0, *, shared: bool = False) -> list[Draft]:
        """What goes through the model next: as much as fits the time of so many portions, or `least_tokens` if those
        take longer; nothing if nothing waits.

        If the work is shared with other slots, no more than half of what is left, as long as that is a portion and
        `least_tokens`: so none of them is in the model for long while the others have nothing left.
        """
        with self._lock:
            if shared:
                portions = min(portions, max(1.0, pace.portions(self._waiting) / 2))
            portion = pace.portion(self._waiting, portions, least_tokens)
            del self._waiting[: len(portion)]
            return portion

    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._waiting

    def portions_left(self, pace: Pace) -> float:
        """How many portions of time in the model what waits will take."""
        with self._lock:
            return pace.portions(self._waiting)

    def half(self, pace: Pace) -> Hand | None:
        """The shorter half of what waits, by its time in the model, in a hand of its own; or half of the parts that
        are still unread; None if there is too little to be worth a transaction of its own."""
        with self._lock:
            left = pace.portions(self._waiting)
            kept = len(pace.portion(self._waiting, left / 2)) if left >= 1 else len(self._waiting)
            given = self._waiting[kept:]
            parts_kept = len(self.unread) // 2 if self._begun else (len(self.unread) + 1) // 2
            if given:
                del self._waiting[kept:]
                other = Hand([draft.raw for draft in given])
                other.lane, other._waiting = self.lane, given
            elif parts_kept < len(self.unread):
                other = Hand([entry for part in self.unread[parts_kept:] for entry in part], self.unread[parts_kept:])
                del self.unread[parts_kept:]
            else:
                return None
            other.received_at = self.received_at
            self.settled(list(other.rest.values()))
            return other


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
