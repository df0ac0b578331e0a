"""What every peer is to the measurement: something that works texts off, answers one, and takes memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Worked:
    """Seconds from the first text sent to the last row committed, or reply had; labels in the texts' order."""

    seconds: float
    labels: list[str]


@dataclass(frozen=True, slots=True)
class Peer:
    """`work` is given all texts at once, `ask` one whose row or reply it waits for.

    `pid`: of the process whose tree is the peer. `writes_rows`: whether a text is done when its row is committed.
    """

    name: str
    pid: int
    work: Callable[[Sequence[str]], Worked]
    ask: Callable[[str], object]
    writes_rows: bool


@dataclass(frozen=True, slots=True)
class Terms:
    """How a peer is named and measured. `how`: what readers must know of its set-up.

    `part`: of the texts that it works off, where all would take minutes; `asked`: how many single ones.
    """

    title: str
    how: str
    part: float = 1.0
    asked: int = 200
