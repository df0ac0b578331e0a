"""Live before bulk, and bulk's share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.names import Lane
from worker.share import Share


def _turns(share: Share, live: int, bulk: int, turns: int) -> dict[Lane, int]:
    """Entries of each lane in so many turns, both inboxes always full: live by `live`, bulk by `bulk` entries."""
    entries = {Lane.LIVE: 0, Lane.BULK: 0}
    for _ in range(turns):
        lane, taken = (Lane.BULK, bulk) if share.bulk_first(bulk) else (Lane.LIVE, live)
        share.taken(lane, taken)
        entries[lane] += taken
    return entries


@pytest.mark.parametrize("bulk_share", [0.0, 0.1, 0.25, 0.5, 0.9, 1.0])
@pytest.mark.parametrize(("live", "bulk"), [(10, 10), (256, 7), (4, 9)])
def test_when_both_wait_bulk_gets_its_share_and_no_more(bulk_share: float, live: int, bulk: int) -> None:
    # Given both inboxes always full, and turns of any size
    # When two thousand are taken
    entries = _turns(Share(bulk_share, lambda: 256), live, bulk, 2000)
    # Then bulk got its share of the entries, but for one turn
    assert pytest.approx(bulk_share * sum(entries.values()), abs=live + bulk) == entries[Lane.BULK]


def test_live_comes_first() -> None:
    assert (Lane.LIVE, Lane.BULK) == Share(0.1, lambda: 256).order()


def test_the_collector_looks_into_bulk_first_once_an_entry_is_owed() -> None:
    share = Share(0.1, lambda: 256)
    share.taken(Lane.LIVE, 10)
    assert (Lane.BULK, Lane.LIVE) == share.order()


@given(st.lists(st.integers(min_value=1, max_value=256), max_size=500))
def test_what_bulk_did_not_use_is_not_saved_up(live: list[int]) -> None:
    # Given a long time in which bulk was empty
    share = Share(0.1, lambda: 256)
    for entries in live:
        share.taken(Lane.LIVE, entries)
    # When bulk fills up, then it gets at most a batch in arrears
    in_a_row = 0
    while share.bulk_first(1):
        share.taken(Lane.BULK, 1)
        in_a_row += 1
    assert in_a_row <= 256 / 0.9


def test_what_bulk_took_while_live_was_quiet_is_not_held_against_it() -> None:
    # Given a night of bulk alone
    share = Share(0.5, lambda: 256)
    share.taken(Lane.BULK, 1_000_000)
    # When live comes, then bulk has its share at once
    share.taken(Lane.LIVE, 1)
    assert share.bulk_first(1)


def test_a_portion_that_is_larger_than_what_can_be_owed_has_its_turn() -> None:
    # Given that at most 8 entries are owed
    share = Share(0.1, lambda: 8)
    # When live has taken enough for them, then a portion of 50 short texts goes first, and live goes before the next
    share.taken(Lane.LIVE, 70)
    assert not share.bulk_first(50)
    share.taken(Lane.LIVE, 10)
    assert share.bulk_first(50)
    share.taken(Lane.BULK, 50)
    assert not share.bulk_first(50)
