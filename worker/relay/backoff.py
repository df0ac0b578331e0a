"""How long to wait before a webhook is called again.

Exponential backoff with full jitter: M. Brooker, "Exponential Backoff And Jitter", 2015.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from schemas.settings import Settings


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses that double from `first_s` up to `most_s`, each drawn between nothing and its bound."""

    first_s: float
    most_s: float
    draw: random.Random = field(default_factory=random.Random, compare=False)

    @classmethod
    def of(cls, settings: Settings) -> Backoff:
        """The one for webhooks."""
        return cls(settings.webhook_backoff_s, settings.webhook_backoff_max_s)

    def bound_s(self, failures: int) -> float:
        """Longest pause after so many failures in a row, from 1."""
        return min(self.most_s, self.first_s * 2.0 ** min(failures - 1, 60))

    def pause_s(self, failures: int, asked_s: float | None = None) -> float:
        """A pause after `failures`; at least what the receiver asked for (Retry-After), within `most_s`."""
        drawn = self.draw.uniform(0.0, self.bound_s(failures))
        return drawn if asked_s is None else min(self.most_s, max(asked_s, drawn))
