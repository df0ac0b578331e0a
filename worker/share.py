"""Which inbox comes first: live before bulk, but bulk gets at least its share of the batches."""

from __future__ import annotations

from schemas.names import Lane


class Share:
    """Counts what bulk is owed. Not thread-safe: the collector alone asks."""

    def __init__(self, bulk_share: float) -> None:
        self._owed_per_live_batch = bulk_share / (1 - bulk_share) if bulk_share < 1 else 1.0
        # With a share of 1 even the first batch is bulk's.
        self._owed = 1.0 if bulk_share >= 1 else 0.0

    def order(self) -> tuple[Lane, Lane]:
        """The inboxes in the order to look into them."""
        return (Lane.BULK, Lane.LIVE) if self._owed >= 1 else (Lane.LIVE, Lane.BULK)

    def taken(self, lane: Lane) -> None:
        """A batch was taken from `lane`. What bulk does not use is not saved up: at most one batch is owed."""
        if lane is Lane.BULK:
            self._owed = max(0.0, self._owed - 1)
        else:
            # Nine tenths of a ninth nine times must make one batch, whatever binary fractions say.
            self._owed = min(1.0, round(self._owed + self._owed_per_live_batch, 9))
