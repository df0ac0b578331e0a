"""When a cron expression is due next, across daylight saving, and what is said of a wrong one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.cron import next_run
from schemas.errors import ScheduleError

BERLIN = "Europe/Berlin"


@pytest.mark.parametrize(
    ("cron", "timezone", "after", "due"),
    [
        ("0 2 * * *", "UTC", "2026-03-01T01:59:59Z", "2026-03-01T02:00:00Z"),
        ("0 2 * * *", "UTC", "2026-03-01T02:00:00Z", "2026-03-02T02:00:00Z"),  # later, never the same again
        ("0 2 * * *", "Asia/Shanghai", "2026-03-01T01:00:00Z", "2026-03-01T18:00:00Z"),
        ("0 2 29 2 *", "UTC", "2026-03-01T00:00:00Z", "2028-02-29T02:00:00Z"),
        # 02:30 does not exist on this night: right after the gap
        ("30 2 * * *", BERLIN, "2026-03-29T00:00:00+01:00", "2026-03-29T03:00:00+02:00"),
        # 02:30 exists twice on this night: the first of them, and not again
        ("30 2 * * *", BERLIN, "2026-10-25T00:00:00+02:00", "2026-10-25T02:30:00+02:00"),
        ("30 2 * * *", BERLIN, "2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"),
        ("30 2 * * *", BERLIN, "2026-10-25T02:10:00+01:00", "2026-10-26T02:30:00+01:00"),
        # but what runs every hour runs in both
        ("30 * * * *", BERLIN, "2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"),
    ],
)
def test_the_next_run(cron: str, timezone: str, after: str, due: str) -> None:
    assert datetime.fromisoformat(due) == next_run(cron, timezone, datetime.fromisoformat(after))


@given(
    st.datetimes(datetime(2026, 3, 28), datetime(2026, 10, 26), timezones=st.just(UTC)),
    st.sampled_from(["30 2 * * *", "*/7 * * * *", "15 2,3 * * SUN", "0 0 1 * *"]),
)
def test_each_run_is_later_than_the_last(after: datetime, cron: str) -> None:
    runs = [after]
    for _ in range(4):
        runs.append(next_run(cron, BERLIN, runs[-1]))
    assert sorted(set(runs)) == runs
    assert all(timedelta(0) == run.utcoffset() for run in runs)


@pytest.mark.parametrize(
    ("cron", "timezone", "said"),
    [
        ("0 25 * * *", "UTC", "the hour '25' is wrong; it takes 0-23"),
        ("60 2 * * *", "UTC", "the minute '60' is wrong"),
        ("0 2 * * FUNDAY", "UTC", "the day-of-week 'FUNDAY' is wrong"),
        ("0 2 30 2 *", "UTC", "the day-of-month '30' is wrong"),
        ("0 2 * *", "UTC", "has 4 fields instead of 5"),
        ("0 0 2 * * *", "UTC", "has 6 fields instead of 5"),
        ("@daily", "UTC", "has 1 fields instead of 5"),
        ("0 2 * * *", "Asia/Nowhere", "no time zone; use a name such as Asia/Shanghai"),
        ("0 2 * * *", "../etc/passwd", "no time zone"),
        ("0 2 * * *", "", "no time zone"),
    ],
)
def test_what_is_wrong_is_shown(cron: str, timezone: str, said: str) -> None:
    with pytest.raises(ScheduleError, match="^.*" + said.replace("*", r"\*")):
        next_run(cron, timezone, datetime(2026, 3, 1, tzinfo=UTC))
