"""One peer's turn, and Fenliu's and the session's before it."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.alone import Alone
from benchmarks.peers.peer import Peer
from benchmarks.peers.process_tree import processor_s


@dataclass(frozen=True, slots=True)
class Look:
    """Texts per second of Fenliu and of the session alone, one right after the other; processor time of Fenliu's worker
    per text."""

    fenliu_per_s: float
    session_per_s: float
    fenliu_processor_ms: float


@dataclass(frozen=True, slots=True)
class Leg:
    """`before`: the number of the look that stands before it; the next one follows it.

    `agreement`: share of texts whose label is Fenliu's. Memory is that of the peer's processes afterwards.
    """

    name: str
    texts: int
    seconds: float
    processor_s: float
    agreement: float
    before: int
    peak_rss_mib: float
    pss_mib: float | None

    @property
    def per_s(self) -> float:
        """Texts per second."""
        return self.texts / self.seconds

    @property
    def processor_ms(self) -> float:
        """Processor time of its processes per text."""
        return self.processor_s / self.texts * 1000


@dataclass
class References:
    """Fenliu and the session on the same texts, again and again. `labels` are Fenliu's."""

    fenliu: Peer
    alone: Alone
    texts: list[str]
    looks: list[Look] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)

    def look(self) -> Look:
        """Once more, the session first in every other one."""
        first = self.alone.classify(self.texts).seconds if len(self.looks) % 2 == 0 else None
        before_s = processor_s(self.fenliu.pid)
        worked = self.fenliu.work(self.texts)
        took_ms = (processor_s(self.fenliu.pid) - before_s) * 1000
        alone_s = first or self.alone.classify(self.texts).seconds
        self.labels = worked.labels
        self.looks.append(Look(len(self.texts) / worked.seconds, len(self.texts) / alone_s, took_ms / len(self.texts)))
        return self.looks[-1]
