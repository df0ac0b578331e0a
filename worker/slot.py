"""What one slot does with one batch: classify, write, reply, acknowledge. In this order, always.

Runs in a thread of Celery's pool. It waits while Postgres or Redis is away and gives its entries back when
it is told to stop meanwhile. Which batch it gets is `worker.collector`'s decision.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Protocol, TypeVar

import structlog

from schemas.errors import Code, RetryableError, RowRefusedError
from schemas.messages import RawEntry, identity_of
from schemas.names import ReplyStatus
from schemas.settings import Settings
from worker.held import Held
from worker.inbox import Inbox
from worker.outcome import Dead, Outcome
from worker.reply import replies_for

T = TypeVar("T")
log = structlog.get_logger(__name__)


class Classify(Protocol):
    """Entries in, outcomes out; `worker.pipeline.Pipeline` in production."""

    def __call__(self, entries: Sequence[RawEntry], now: datetime) -> list[Outcome]:
        """One outcome for each entry, in order."""


class Write(Protocol):
    """Outcomes in, one transaction; `worker.sink.Sink.write` in production."""

    def __call__(self, outcomes: Sequence[Outcome], received_at: datetime) -> list[ReplyStatus]:
        """One status for each outcome, in order."""


class StoppingError(Exception):
    """The process is stopping and what this slot waits for is away."""


class Slot:
    """Works off batches; one instance serves all threads of the pool."""

    def __init__(
        self,
        *,
        inbox: Inbox,
        held: Held,
        classify: Classify,
        write: Write,
        settings: Settings,
        stopping: threading.Event,
        on_settled: Callable[[int], None],
    ) -> None:
        self._inbox = inbox
        self._held = held
        self._classify = classify
        self._write = write
        self._settings = settings
        self._stopping = stopping
        self._on_settled = on_settled

    def work(self, batch: Sequence[RawEntry]) -> None:
        """Work off `batch`, part by part; each part is one transaction.

        An error that nothing here expects leaves the rest pending and unrefreshed: it is claimed after
        claim_idle_s, and its deliveries count.
        """
        rest = list(batch)
        try:
            for part in parts(batch, self._settings.batch_chars):
                self._work_part(part)
                self._held.remove(part)
                del rest[: len(part)]
                self._on_settled(len(part))
        except StoppingError:
            self._inbox.give_back(rest)
        except Exception:
            log.exception("batch_failed", entries=len(rest))
            raise
        finally:
            self._held.remove(rest)

    def _work_part(self, part: Sequence[RawEntry]) -> None:
        now = datetime.now(UTC)
        outcomes = self._patiently(lambda: self._classified(part, now))
        outcomes, statuses = self._written(part, outcomes, now)
        replies = list(replies_for(part, outcomes, statuses, self._settings.keys))
        self._patiently(lambda: self._inbox.settle(part, replies, self._settings))

    def _classified(self, part: Sequence[RawEntry], now: datetime) -> list[Outcome]:
        limit = 2 * self._settings.poison_after
        poison = [entry for entry in part if entry.deliveries > limit]
        sound = [entry for entry in part if entry.deliveries <= limit]
        with self._held.in_model():
            outcomes = self._classify(sound, now)
        by_entry = {id(entry): outcome for entry, outcome in zip(sound, outcomes, strict=True)}
        by_entry.update({id(entry): _poisoned(entry) for entry in poison})
        return [by_entry[id(entry)] for entry in part]

    def _written(
        self, part: Sequence[RawEntry], outcomes: list[Outcome], now: datetime
    ) -> tuple[list[Outcome], list[ReplyStatus]]:
        """Write; when Postgres refuses a row, halve until the culprit stands by itself and is dead-lettered."""
        try:
            return outcomes, self._patiently(lambda: self._write(outcomes, now))
        except RowRefusedError as error:
            if len(outcomes) > 1:
                half = len(outcomes) // 2
                first, first_statuses = self._written(part[:half], outcomes[:half], now)
                second, second_statuses = self._written(part[half:], outcomes[half:], now)
                return first + second, first_statuses + second_statuses
            if isinstance(outcomes[0], Dead):
                raise
            refused: list[Outcome] = [_refused(part[0], error)]
            return refused, self._patiently(lambda: self._write(refused, now))

    def _patiently(self, step: Callable[[], T]) -> T:
        """Run `step` until it works, while Redis or Postgres is away.

        Raises StoppingError when the process is told to stop meanwhile.
        """
        pause_s = 0.05
        while True:
            try:
                return step()
            except RetryableError as error:
                log.warning("slot_waits", reason=str(error)[:200])
                if self._stopping.is_set():
                    raise StoppingError from error
                until = time.monotonic() + pause_s
                while not self._stopping.is_set() and time.monotonic() < until:
                    time.sleep(0.05)
                pause_s = min(pause_s * 2, self._settings.retry_max_s)


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


def _refused(entry: RawEntry, error: RowRefusedError) -> Dead:
    return Dead(entry, Code.ROW_REFUSED, "text", f"Postgres refuses its row: {error}", identity_of(entry))
