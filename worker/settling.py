"""What follows the model: outcomes written, replied to, acknowledged. In this order, always, and patiently.

Which entries are settled together is `worker.slot`'s decision; the statements are `worker.sink`'s.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

import structlog

from schemas.errors import Code, RetryableError, RowRefusedError
from schemas.messages import RawEntry, identity_of
from schemas.names import ReplyStatus
from schemas.settings import Settings
from worker.inbox import Inbox, Reply
from worker.metrics import Metrics, Phase
from worker.outcome import Dead, Outcome
from worker.reply import replies_for

T = TypeVar("T")
log = structlog.get_logger(__name__)


class Write(Protocol):
    """Outcomes in, one transaction; `worker.sink.Sink.write` in production."""

    def __call__(self, outcomes: Sequence[Outcome], received_at: datetime) -> list[ReplyStatus]:
        """One status for each outcome, in order."""


class StoppingError(Exception):
    """The process is stopping and what this slot waits for is away."""


class LostError(Exception):
    """Others have settled some of these entries while this process could not reach Postgres."""


class Patience:
    """Tries again while Redis or Postgres is away."""

    def __init__(self, stopping: threading.Event, retry_max_s: float, metrics: Metrics) -> None:
        self._stopping = stopping
        self._retry_max_s = retry_max_s
        self._metrics = metrics

    def __call__(self, step: Callable[[], T], before_again: Callable[[], None] = lambda: None) -> T:
        """Run `step` until it works. Raises StoppingError when the process is told to stop meanwhile.

        `before_again` runs before each further try, which must wait until that works, too.
        """
        pause_s = 0.05
        tried = False
        while True:
            try:
                if tried:
                    before_again()
                tried = True
                return step()
            except RetryableError as error:
                self._metrics.retried(error)
                log.warning("slot_waits", reason=str(error)[:200])
                if self._stopping.is_set():
                    raise StoppingError from error
                until = time.monotonic() + pause_s
                while not self._stopping.is_set() and time.monotonic() < until:
                    time.sleep(0.05)
                pause_s = min(pause_s * 2, self._retry_max_s)


class Settling:
    """Settles what is classified; one instance serves all threads of the pool."""

    def __init__(
        self,
        *,
        inbox: Inbox,
        write: Write,
        any_lost: Callable[[Sequence[RawEntry]], bool],
        patiently: Patience,
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        """`any_lost`: whether others have settled one of these; it may raise InboxUnavailableError."""
        self._inbox = inbox
        self._write = write
        self._any_lost = any_lost
        self._patiently = patiently
        self._settings = settings
        self._metrics = metrics

    def settle(self, entries: Sequence[RawEntry], outcomes: Sequence[Outcome], received_at: datetime) -> None:
        """Write the outcomes of `entries` in one transaction, reply, acknowledge.

        Raises StoppingError, and LostError if it had to try again and `any_lost` by then: acknowledges nothing then.
        """
        written, statuses = self._written(entries, list(outcomes), received_at)
        replies = list(replies_for(entries, written, statuses, self._settings.keys))
        self._patiently(lambda: self._acknowledge(entries, replies))
        self._metrics.settled(written)

    def _acknowledge(self, entries: Sequence[RawEntry], replies: Sequence[Reply]) -> None:
        with self._metrics.seconds[Phase.ACKNOWLEDGE].time():
            self._inbox.settle(entries, replies, self._settings)

    def _write_timed(self, outcomes: Sequence[Outcome], received_at: datetime) -> list[ReplyStatus]:
        with self._metrics.seconds[Phase.WRITE].time():
            return self._write(outcomes, received_at)

    def _written(
        self, entries: Sequence[RawEntry], outcomes: list[Outcome], received_at: datetime
    ) -> tuple[list[Outcome], list[ReplyStatus]]:
        """Write; when Postgres refuses a row, halve until the culprit stands by itself and is dead-lettered."""
        try:
            return outcomes, self._patiently(
                lambda: self._write_timed(outcomes, received_at), before_again=lambda: self._raise_if_lost(entries)
            )
        except RowRefusedError as error:
            if len(outcomes) > 1:
                half = len(outcomes) // 2
                first, first_statuses = self._written(entries[:half], outcomes[:half], received_at)
                second, second_statuses = self._written(entries[half:], outcomes[half:], received_at)
                return first + second, first_statuses + second_statuses
            if isinstance(outcomes[0], Dead):
                raise
            refused: list[Outcome] = [_refused(entries[0], error)]
            return refused, self._patiently(
                lambda: self._write_timed(refused, received_at), before_again=lambda: self._raise_if_lost(entries)
            )

    def _raise_if_lost(self, entries: Sequence[RawEntry]) -> None:
        if self._any_lost(entries):
            raise LostError


def _refused(entry: RawEntry, error: RowRefusedError) -> Dead:
    return Dead(entry, Code.ROW_REFUSED, "text", f"Postgres refuses its row: {error}", identity_of(entry))
