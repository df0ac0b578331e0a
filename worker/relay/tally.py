"""What this process' relay has done since it started, for metrics. How much waits is `worker.desk.deliveries`'."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.names import DeliveryState


@dataclass(slots=True)
class Tally:
    """Counts that only grow, and whether this relay is the one that delivers. Written by the relay's thread alone."""

    leads: bool = False
    announcements: int = 0
    stream_entries: int = 0
    calls_delivered: int = 0
    calls_failed: int = 0
    deliveries_failed: int = 0

    def called(self, state: DeliveryState) -> None:
        """A call has left its delivery in `state`."""
        if state is DeliveryState.DELIVERED:
            self.calls_delivered += 1
        else:
            self.calls_failed += 1
            self.deliveries_failed += state is DeliveryState.FAILED
