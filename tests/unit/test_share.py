"""Live before bulk, and bulk's share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.names import Lane
from worker.share import Share


def _taken(share: Share, batches: int) -> list[Lane]:
    taken = []
    for _ in range(batches):
        lane = share.order()[0]
        share.taken(lane)
        taken.append(lane)
    return taken


@pytest.mark.parametrize("bulk_share", [0.0, 0.1, 0.25, 0.5, 0.9, 1.0])
def test_when_both_wait_bulk_gets_exactly_its_share(bulk_share: float) -> None:
    # Given both inboxes always full
    # When a thousand batches are taken
    taken = _taken(Share(bulk_share), 1000)
    # Then bulk got its share of them
    assert pytest.approx(1000 * bulk_share, abs=1) == taken.count(Lane.BULK)


def test_live_comes_first() -> None:
    assert (Lane.LIVE, Lane.BULK) == Share(0.1).order()


@given(st.integers(min_value=0, max_value=500))
def test_what_bulk_did_not_use_is_not_saved_up(live_batches: int) -> None:
    # Given a long time in which bulk was empty: it was owed a batch each time, and live was taken instead
    share = Share(0.1)
    for _ in range(live_batches):
        share.taken(Lane.LIVE)
    # When bulk fills up
    taken = _taken(share, 10)
    # Then it gets at most one batch in arrears
    assert taken.count(Lane.BULK) <= 2
