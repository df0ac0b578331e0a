"""What a scenario is: a name, a function that runs it in a given size, and a result with its checks."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Result = dict[str, Any]
"""At least `checks`: what was looked for → how often it was found. Nothing may be found."""


@dataclass(frozen=True)
class Size:
    """How long and how much: `minutes` and `items`, None for a scenario's own. `logs`: where workers' logs are kept."""

    seed: int
    minutes: float | None = None
    items: int | None = None
    logs: Path | None = None

    def rng(self, name: str) -> random.Random:
        """Chance that depends on the seed and on who asks, and on nothing else."""
        return random.Random(f"{self.seed} {name}")  # noqa: S311 - no secret

    def seconds(self, minutes: float) -> float:
        """The scenario's time, `minutes` by default."""
        return 60 * (minutes if self.minutes is None else self.minutes)

    def part(self, whole: int, minutes: float) -> int:
        """How many of `whole` things, which are for `minutes`, there are in the time given; at least 1."""
        return max(1, round(whole * self.seconds(minutes) / (60 * minutes)))


Scenario = Callable[[Size], Result]


def violations(result: Mapping[str, Any]) -> dict[str, int]:
    """The checks that found something."""
    return {name: found for name, found in result["checks"].items() if found}
