"""How far a backfill is: what is kept in Redis with every chunk, and copied to the table `backfills`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from schemas.errors import BackfillError
from schemas.messages import entry_order

KEPT_REFUSALS = 100
KEPT_SOURCES = 100
_MESSAGE_CHARS = 200


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that was not enqueued: where it stands, a stable code if it breaks the contract, and why."""

    where: str
    code: str | None
    message: str


@dataclass(frozen=True, slots=True)
class Progress:
    """Rows dealt with so far and where to go on.

    `place`: where the feed goes on, empty at its beginning. `file` tells the file from another. `read_at`: when
    reading began (RFC 3339). `first` and `last`: bounds of the entry ids. `open`: the ids of the last chunk are not
    in it yet. `sources`: those of the entries, None if they are too many to keep. `spent_s`: time of enqueuing.
    """

    place: Mapping[str, Any] = field(default_factory=dict)
    file: Mapping[str, Any] | None = None
    read_at: str | None = None
    chunk: int = 0
    read: int = 0
    enqueued: int = 0
    skipped: int = 0
    refused: int = 0
    first: str | None = None
    last: str | None = None
    open: bool = False
    ended: bool = False
    sources: tuple[str, ...] | None = ()
    refusals: tuple[Refusal, ...] = ()
    spent_s: float = 0.0

    def with_refusals(self, more: Sequence[Refusal]) -> tuple[Refusal, ...]:
        """The kept refusals and as many of `more` as may be kept."""
        room = KEPT_REFUSALS - len(self.refusals)
        if room <= 0 or not more:
            return self.refusals
        return self.refusals + tuple(replace(one, message=one.message[:_MESSAGE_CHARS]) for one in more[:room])

    def with_sources(self, more: set[str]) -> tuple[str, ...] | None:
        """The sources seen so far, sorted; None once they are too many."""
        if self.sources is None or more.issubset(self.sources):
            return self.sources
        seen = sorted({*self.sources, *more})
        return tuple(seen) if len(seen) <= KEPT_SOURCES else None

    def overlaps(self, other: Progress) -> bool:
        """Whether entries of `other` may lie between those of this one and have the same source."""
        if not (self.enqueued and other.enqueued and self.first and other.first):
            return False
        if self.sources is not None and other.sources is not None and not set(self.sources) & set(other.sources):
            return False
        begins, ends = entry_order(other.first), entry_order(other.last or other.first)
        before = self.last is not None and not self.open and entry_order(self.last) < begins
        return not before and (other.open or entry_order(self.first) <= ends)

    def dump(self) -> bytes:
        """As it stands in Redis; equal progress gives equal bytes."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()

    def as_json(self) -> dict[str, Any]:
        """As it stands in the table."""
        return asdict(self)

    @classmethod
    def load(cls, content: bytes | Mapping[str, Any]) -> Progress:
        """What `dump` or `as_json` wrote; nothing at all is the beginning. Raises BackfillError."""
        try:
            values = dict(json.loads(content) if isinstance(content, bytes) else content)
            refusals = tuple(Refusal(**one) for one in values.pop("refusals", ()))
            sources = values.pop("sources", ())
            return cls(**values, refusals=refusals, sources=None if sources is None else tuple(sources))
        except (TypeError, ValueError) as error:
            raise BackfillError(f"the position of the backfill cannot be read: {error}") from error
