"""How long entries will take in the model, by what it has taken so far, and portions of bulk that fit a time.

Costs are estimated from an entry's bytes, before anything is decoded or tokenized. Who runs the portions, and what
goes on between two of them, is `worker.slot`'s.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final, NamedTuple

from schemas.messages import RawEntry
from schemas.names import Kind, Task

FIRST_MS_PER_TOKEN: Final = 0.5
"""Assumed before anything is measured; a base-size model on a slow core takes about that much."""

_BYTES_PER_TOKEN = 4.5  # Chinese in UTF-8 and English alike, by XLM-R's vocabulary and its like
_TOKENS_PER_ENTRY = 8  # special tokens, a prefix, and what an entry costs however short it is
_RISE = 0.5
_FALL = 0.1
"""Share of a measurement in the estimate. What runs over is believed sooner than what is early: portions should keep
within their time nearly always, and a little below it on average."""
_MOST_CHANGE = 4.0  # a model that had to be loaded first says nothing about the next portion


class Work(NamedTuple):
    """Kinds of work that cost differently by token."""

    routing: bool
    own_labels: bool
    own_model: bool


def work_of(entry: RawEntry) -> Work:
    """What is asked about an entry, by its fields as they came; wrong fields do no harm."""
    fields = entry.fields
    tasks = fields.get(b"tasks")
    routing = Task.ROUTING.value.encode() in tasks if tasks else fields.get(b"kind") == Kind.TICKET.value.encode()
    return Work(routing, b"labels" in fields, b"model" in fields)


def tokens_of(entry: RawEntry) -> float:
    """Tokens that an entry counts for, estimated."""
    return _TOKENS_PER_ENTRY + len(entry.fields.get(b"text", b"")) / _BYTES_PER_TOKEN


class Pace:
    """Milliseconds per token of each kind of work, as an exponentially weighted mean. Thread-safe."""

    def __init__(self, portion_ms: float) -> None:
        """`portion_ms`: the time in the model that a portion may take."""
        self._portion_ms = portion_ms
        self._lock = threading.Lock()
        self._ms_per_token: dict[Work, float] = {}

    def cost_ms(self, entry: RawEntry) -> float:
        """Time in the model that this entry will take, estimated."""
        return tokens_of(entry) * self._ms_per_token.get(work_of(entry), FIRST_MS_PER_TOKEN)

    def sorted(self, entries: Sequence[RawEntry]) -> list[RawEntry]:
        """Like beside like and longest first, so that a portion needs little padding."""
        return sorted(entries, key=lambda entry: (work_of(entry), -tokens_of(entry)))

    def portion(self, waiting: Sequence[RawEntry]) -> list[RawEntry]:
        """The first of `waiting`, as many as fit a portion; at least one."""
        portion: list[RawEntry] = []
        room_ms = self._portion_ms
        for entry in waiting:
            room_ms -= self.cost_ms(entry)
            if portion and room_ms < 0:
                break
            portion.append(entry)
        return portion

    def learn(self, entries: Sequence[RawEntry], took_ms: float) -> None:
        """These went through the model together and took so long. Little work weighs little, being mostly overhead."""
        tokens: dict[Work, float] = {}
        for entry in entries:
            work = work_of(entry)
            tokens[work] = tokens.get(work, 0.0) + tokens_of(entry)
        with self._lock:
            expected_ms = {
                work: count * self._ms_per_token.get(work, FIRST_MS_PER_TOKEN) for work, count in tokens.items()
            }
            all_ms = sum(expected_ms.values())
            if all_ms <= 0:
                return
            ratio = min(_MOST_CHANGE, max(1 / _MOST_CHANGE, took_ms / all_ms))
            weight = (_RISE if ratio > 1 else _FALL) * min(1.0, max(took_ms, all_ms) / self._portion_ms)
            for work, part_ms in expected_ms.items():
                before = self._ms_per_token.get(work, FIRST_MS_PER_TOKEN)
                self._ms_per_token[work] = before * (1 + weight * (ratio - 1) * part_ms / all_ms)
