"""How long drafts will take in the model, by what it has taken so far, and portions of them that fit a time.

Who runs the portions, and what goes on between two of them, is `worker.slot`'s.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

from worker.draft import Draft, Work

FIRST_MS_PER_TOKEN: Final = 0.5
FIRST_MS_PER_ENTRY: Final = 30.0
"""Assumed before anything is measured; a base-size model on a slow core takes about that much."""

_RISE = 0.5
_FALL = 0.1
"""Share of a measurement in the estimate. What runs over is believed sooner than what is early: portions should keep
within their time nearly always, and a little below it on average."""
_MOST_CHANGE = 4.0  # a model that had to be loaded first says nothing about the next portion


class Pace:
    """Milliseconds per token of each kind of work, as an exponentially weighted mean. Thread-safe."""

    def __init__(self, portion_ms: float) -> None:
        """`portion_ms`: the time in the model that a portion may take."""
        self._portion_ms = portion_ms
        self._lock = threading.Lock()
        self._ms_per_token: dict[Work, float] = {}
        self._ms_per_entry = FIRST_MS_PER_ENTRY

    def cost_ms(self, draft: Draft) -> float:
        """Time in the model that this draft will take, estimated."""
        return draft.tokens * self._ms_per_token.get(draft.work, FIRST_MS_PER_TOKEN)

    def portions(self, drafts: Sequence[Draft]) -> float:
        """How many portions these are, by their time in the model."""
        return sum(map(self.cost_ms, drafts)) / self._portion_ms

    def portion(self, waiting: Sequence[Draft], portions: float = 1, least_tokens: float = 0) -> list[Draft]:
        """The first of `waiting`, as many as fit a portion, or the time of so many portions, or `least_tokens` if those
        take longer; at least one."""
        portion: list[Draft] = []
        room_ms, room_tokens = self._portion_ms * portions, least_tokens
        for draft in waiting:
            room_ms -= self.cost_ms(draft)
            room_tokens -= draft.tokens
            if portion and room_ms < 0 and room_tokens < 0:
                break
            portion.append(draft)
        return portion

    def usual_entries(self) -> int:
        """How many entries of the usual size make a portion; at least 1."""
        return max(1, int(self._portion_ms / max(self._ms_per_entry, 1e-3)))

    def few_portions_entries(self) -> int:
        """How many entries of the usual size make four portions."""
        return 4 * self.usual_entries()

    def half_a_portion_entries(self) -> int:
        """How many entries of the usual size make half a portion; at least 1."""
        return max(1, self.usual_entries() // 2)

    def learn(self, drafts: Sequence[Draft], took_ms: float) -> None:
        """These went through the model together and took so long. Little work weighs little, being mostly overhead."""
        tokens: dict[Work, float] = {}
        for draft in drafts:
            tokens[draft.work] = tokens.get(draft.work, 0.0) + draft.tokens
        if not drafts:
            return
        with self._lock:
            self._ms_per_entry += _FALL * (took_ms / len(drafts) - self._ms_per_entry)
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


def by_size(drafts: Sequence[Draft]) -> list[Draft]:
    """Like beside like and longest first, so that a portion needs little padding."""
    return sorted(drafts, key=lambda draft: (draft.work, -draft.tokens))
