"""What producers are told: receipts of single items, the sum of many, and what a reply means to who asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from producers.item import Item
from schemas.errors import EntryError, ExpiredError, FenliuError, ReplyTimeoutError
from schemas.messages import Reply, decode_reply
from schemas.names import ReplyStatus

KEPT_REFUSALS = 100


class Receipt(NamedTuple):
    """What became of one item: the entry it is in now, or why a worker would refuse it."""

    item: Item | Mapping[str, object]
    entry_id: str | None
    error: EntryError | None


class Refusal(NamedTuple):
    """An item that was not sent. `position` counts from 0."""

    position: int
    error: EntryError


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of many items. `refusals` are the first refused ones, at most 100."""

    enqueued: int
    refused: int
    refusals: tuple[Refusal, ...]


class Tally:
    """Counts receipts as they come."""

    def __init__(self) -> None:
        self._enqueued = self._refused = 0
        self._refusals: list[Refusal] = []

    def count(self, receipt: Receipt) -> None:
        """Take in one receipt."""
        if receipt.error is None:
            self._enqueued += 1
            return
        if len(self._refusals) < KEPT_REFUSALS:
            self._refusals.append(Refusal(self._enqueued + self._refused, receipt.error))
        self._refused += 1

    def note(self, error: FenliuError) -> None:
        """Let an error that ends the call say how far it came."""
        error.add_note(f"{self._enqueued} items are in the inbox, {self._refused} were refused; the rest was not sent")

    @property
    def summary(self) -> Summary:
        """What there is so far."""
        return Summary(self._enqueued, self._refused, tuple(self._refusals))


def opened(fields: Mapping[Any, Any]) -> Reply:
    """The reply in a stream entry. Raises what went wrong: EntryError, ExpiredError, PermanentError."""
    reply = decode_reply(fields)
    if reply.status is ReplyStatus.DEAD:
        raise reply.dead_error()
    if reply.status is ReplyStatus.EXPIRED:
        raise ExpiredError("its deadline passed before it reached the model")
    return reply


def no_reply(timeout_s: float) -> ReplyTimeoutError:
    """The error of somebody who has waited long enough."""
    return ReplyTimeoutError(f"no reply within {timeout_s:g} s; `fenliu status` shows whether workers keep up")
