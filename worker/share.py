"""Which inbox comes first: live before bulk, but bulk gets at least its share of the batches."""

from __future__ import annotations

from schemas.names import Lane

_ROUNDING = 1e-9  # ten times a tenth must make one


class Share:
    """Counts what bulk is owed, in batches. Not thread-safe: the collector alone asks."""

    def __init__(self, bulk_share: float) -> None:
        self._bulk_share = bulk_share
        self._owed = 0.0

    def order(self) -> tuple[Lane, Lane]:
        """The inboxes in the order to look into them."""
        if self._owed + self._bulk_share >= 1 - _ROUNDING:
            return Lane.BULK, Lane.LIVE
        return Lane.LIVE, Lane.BULK

    def taken(self, lane: Lane) -> None:
        """A batch was taken from `lane`. What bulk does not use is not saved up: at most one batch is owed."""
        owed = self._owed + self._bulk_share - (lane is Lane.BULK)
        self._owed = min(1.0, max(0.0, owed))
