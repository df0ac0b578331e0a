"""What viewers ask to see: any filters survive the URL, whatever is written there is read or refused, bins fit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlencode
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dashboard.overview.bins import MOST_BINS, Bin, first, starts, suitable
from dashboard.overview.filters import NO_NAME, NO_STRETCH, NO_TIME, NO_ZONE, Filters, Span, parsed
from dashboard.overview.window import window_of
from dashboard.zones import known_zones, zone_of_cookie
from schemas.names import Lane, Task

NOW = datetime(2026, 11, 21, 21, 30, tzinfo=UTC)
ZONES = sorted(known_zones())
names = st.none() | st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=200)
clock_times = st.datetimes(datetime(1900, 1, 1), datetime(2199, 12, 31)).map(
    lambda at: at.replace(second=0, microsecond=0, fold=0)
)


@st.composite
def some_filters(draw: st.DrawFn) -> Filters:
    span, zone = draw(st.sampled_from(Span)), draw(st.none() | st.sampled_from(ZONES))
    begin = end = None
    if span is Span.CUSTOM:
        begin, end = draw(st.none() | clock_times), draw(st.none() | clock_times)
        zone = zone or "UTC"
        if begin and end and begin >= end:
            begin = None
    return Filters(
        span, begin, end, draw(names), draw(names),
        draw(st.none() | st.sampled_from(Lane)), draw(st.none() | st.sampled_from(Task)),
        draw(st.none() | st.sampled_from(Bin)), zone,
    )  # fmt: skip


@given(some_filters())
def test_filters_survive_the_url(filters: Filters) -> None:
    query = dict(parse_qsl(urlencode(filters.query())))
    assert (filters, {}) == parsed(query, "UTC")


@given(
    st.dictionaries(
        st.sampled_from(["range", "from", "to", "by", "source", "team", "lane", "task", "zone"]),
        st.text() | st.datetimes().map(str) | st.sampled_from(["custom", "all", "week", *ZONES[:50]]),
    ),
    st.sampled_from(ZONES),
)
@example({"range": "custom", "from": "1900-01-01", "to": "2199-12-31", "by": "hour"}, "Pacific/Kiritimati")
@example({"from": "0001-01-01T00:00+14:00"}, "America/New_York")
@example({"to": "9999-12-31T23:59-14:00"}, "Pacific/Kiritimati")
def test_whatever_is_asked_has_a_window(query: dict[str, str], zone: str) -> None:
    filters, _ = parsed(query, zone)
    window = window_of(filters, zone, NOW, None)
    assert parsed(filters.query(), zone) == (filters, {})
    if window.begin and window.end and window.begin < window.end and window.bin is not Bin.WEEK:
        assert (window.end - window.begin) / window.bin.length < MOST_BINS


@pytest.mark.parametrize(
    ("query", "field", "message"),
    [
        ({"from": "2026-02-30"}, "from", NO_TIME),
        ({"to": "9999-12-31T23:59"}, "to", NO_TIME),
        ({"from": "2026-02-02", "to": "2026-02-01"}, "to", NO_STRETCH),
        ({"source": "x" * 201}, "source", NO_NAME),
        ({"team": "a\0b"}, "team", NO_NAME),
        ({"zone": "Mars/Base"}, "zone", NO_ZONE),
    ],
)
def test_what_is_wrong_is_said_beside_its_field(query: dict[str, str], field: str, message: str) -> None:
    if field in {"from", "to"}:
        query = {"range": "custom", **query}
    assert {field: message} == parsed(query, "UTC")[1]


@pytest.mark.parametrize("given_time", ["2026-01-31T08:00+08:00", "2026-01-31T08:00 08:00", "2026-01-31T00:00Z"])
def test_times_with_an_offset_become_clock_times_of_the_zone(given_time: str) -> None:
    filters, wrong = parsed({"from": given_time, "zone": "America/New_York"}, "UTC")
    assert (datetime(2026, 1, 30, 19, 0), {}) == (filters.begin, wrong)
    assert datetime(2026, 1, 31, tzinfo=UTC) == window_of(filters, "UTC", NOW, None).begin


def test_the_viewers_zone_stands_in_the_address_of_clock_times() -> None:
    # Whoever is sent the address sees the same hours.
    shared = parsed({"from": "2026-01-31"}, "Asia/Shanghai")[0].query()
    assert "Asia/Shanghai" == shared["zone"]
    assert "zone" not in parsed({"range": "7d"}, "Asia/Shanghai")[0].query()


@pytest.mark.parametrize(
    ("span", "wanted", "expected", "begin"),
    [
        (Span.HOUR, None, Bin.HOUR, datetime(2026, 11, 21, 20, tzinfo=UTC)),
        (Span.DAY, None, Bin.HOUR, datetime(2026, 11, 20, 21, tzinfo=UTC)),
        (Span.WEEK, None, Bin.DAY, datetime(2026, 11, 14, 16, tzinfo=UTC)),
        (Span.MONTH, None, Bin.DAY, datetime(2026, 10, 22, 16, tzinfo=UTC)),
        (Span.MONTH, Bin.WEEK, Bin.WEEK, datetime(2026, 10, 18, 16, tzinfo=UTC)),
        (Span.ALL, None, Bin.DAY, None),
    ],
)
def test_a_range_begins_with_a_whole_bin(span: Span, wanted: Bin | None, expected: Bin, begin: datetime | None) -> None:
    window = window_of(Filters(span, bin=wanted), "Asia/Shanghai", NOW, None)
    assert (expected, begin) == (window.bin, window.begin)


@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2035, 1, 1)), st.sampled_from(ZONES), st.sampled_from(Bin),
    st.integers(1, 40),
)  # fmt: skip
def test_bins_follow_each_other_in_every_zone(at: datetime, zone: str, each: Bin, count: int) -> None:
    begin, place = at.replace(tzinfo=UTC), ZoneInfo(zone)
    found = list(starts(begin, begin + count * each.length, each, place))
    assert first(begin, each, place) == found[0]
    assert found[0] <= begin + timedelta(hours=2)  # where midnight is left out, a day begins after it
    assert sorted(set(found)) == found
    assert count <= len(found) <= count + 2


def test_bins_suit_the_time() -> None:
    for length, expected in ((1, Bin.HOUR), (3, Bin.HOUR), (4, Bin.DAY), (120, Bin.DAY), (121, Bin.WEEK)):
        assert expected is suitable(NOW - timedelta(days=length), NOW)
    assert Bin.DAY is suitable(NOW - timedelta(days=90), NOW, Bin.HOUR)
    assert Bin.WEEK is suitable(NOW - timedelta(days=40_000), NOW, Bin.HOUR)


@pytest.mark.parametrize(("cookie", "zone"), [("Asia%2FShanghai", "Asia/Shanghai"), ("", "UTC"), ("%FF", "UTC")])
def test_the_zone_of_a_cookie_is_one_that_exists(cookie: str, zone: str) -> None:
    assert zone == zone_of_cookie(cookie)
