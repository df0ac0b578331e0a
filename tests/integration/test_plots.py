"""The plots on real views: what they sum, when days begin, what is shown as SQL and sent as CSV, what goes wrong."""

from __future__ import annotations

import asyncio
import csv
import io
import itertools
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from html import unescape
from typing import Any, cast
from zoneinfo import ZoneInfo

import psycopg2
import pytest
import redis
from sqlalchemy import Engine, text
from starlette.applications import Starlette
from starlette.testclient import TestClient

from dashboard.access.gate import Gate
from dashboard.app import create_pages
from dashboard.overview import choices, live, tiles
from dashboard.overview.board import Board, look
from dashboard.overview.filters import Filters, parsed
from dashboard.overview.plots import PLOTS
from dashboard.overview.reading import AWAY, TOO_SLOW
from dashboard.overview.sql import Answer, ask
from dashboard.overview.window import Window, window_of
from dashboard.reader import make_reader
from dashboard.site import Site
from dashboard.words import words_of
from schemas.names import DASHBOARD_ROLE, AssignmentStatus, Lane
from schemas.settings import Settings
from tests.integration.outcomes import comment, dead, ticket
from worker.outcome import Outcome
from worker.sink import Sink

ENGLISH = words_of("en")
STATEMENTS = {name: plot.statement for name, plot in PLOTS.items()} | {
    "tiles": tiles.STATEMENT,
    "extent": choices.EXTENT,
    "sources": choices.SOURCES,
    "teams": choices.TEAMS,
    "alerts": choices.ALERTS,
    "rate": live.RATE,
}
FILTERS: list[dict[str, str]] = [
    {"range": "all"},
    {"range": "7d", "by": "day", "zone": "Asia/Shanghai"},
    {"range": "all", "source": "o'shop \\ %s", "team": "billing", "lane": "bulk", "task": "routing", "by": "week"},
    {"range": "24h", "source": "nowhere"},
]


@pytest.fixture
def reader(settings: Settings) -> Iterator[Engine]:
    """As the dashboard reads, but a statement may take only a second."""
    engine = make_reader(settings, statement_timeout_s=1)
    yield engine
    engine.dispose()


Browse = Callable[..., TestClient]


@pytest.fixture
def browse(settings: Settings, engine: Engine, reader: Engine, redis_client: redis.Redis) -> Browse:
    """A browser on this machine: `browse()`, or one whose plots are read with another engine."""

    def made(plots_from: Engine = reader) -> TestClient:
        pages = create_pages()
        app = Starlette(routes=list(pages.routes))
        # The pages looked at here classify nothing.
        app.state.site = Site(settings, cast(Any, None), engine, plots_from, redis_client, Gate(engine, settings))
        return TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 5000))

    return made


def fill(engine: Engine, seed: int = 1) -> None:
    """Items of the last ten days: several sources, teams, labels, lanes and scores, and dead letters."""
    rng, now = random.Random(seed), datetime.now(UTC)
    outcomes: list[Outcome] = []
    for number in range(120):
        at = now - timedelta(minutes=rng.randrange(14_400))
        more: dict[str, Any] = {"created_at": at, "seq": number, "lane": rng.choice(list(Lane))}
        more["source"] = rng.choice(("shop", "app", "o'shop \\ %s"))
        if number % 3:
            outcomes.append(comment(f"c{number}", 0, rng.choice(("positive", "negative", "mixed")), **more))
        else:
            team, status = rng.choice((("billing", "auto"), ("legal", "auto"), ("triage", "triage")))
            outcomes.append(ticket(f"t{number}", 0, team, "1", rng.random(), AssignmentStatus(status), **more))
    outcomes += [dead({"id": str(number), "source": "=shop"}, at_s=number) for number in range(4)]
    Sink(engine).write(outcomes, now)


def window(query: dict[str, str]) -> Window:
    filters, wrong = parsed(query, "UTC")
    assert {} == wrong
    return window_of(filters, "UTC", datetime.now(UTC), None)


def board_of(reader: Engine, query: dict[str, str], viewers_zone: str = "UTC") -> Board:
    return asyncio.run(look(reader, parsed(query, viewers_zone)[0], viewers_zone, ENGLISH))


def test_every_statement_runs_as_the_role_that_reads_views_alone(
    engine: Engine, reader: Engine, settings: Settings
) -> None:
    # Given the role for dashboards
    with reader.connect() as connection:
        assert DASHBOARD_ROLE == connection.execute(text("SELECT current_user")).scalar_one()
    windows = [window(query).parameters for query in FILTERS]
    for is_filled in (False, True):
        if is_filled:
            fill(engine)
        for parameters, (name, statement) in itertools.product(windows, STATEMENTS.items()):
            # when a statement is run, then it answers on an empty and on a filled database,
            answer = ask(reader, statement, parameters)
            # and what is shown of it, pasted as it is, gives the same rows
            assert "%(" not in answer.shown
            with psycopg2.connect(settings.database_url) as raw, raw.cursor() as cursor:
                cursor.execute("SET TimeZone TO 'America/New_York'")  # whoever pastes it may live anywhere
                cursor.execute(answer.shown)
                assert [tuple(row) for row in answer.rows] == cursor.fetchall() or name == "rate", name


def test_sums_are_those_of_the_tables(engine: Engine, reader: Engine) -> None:
    # Given items, when all of them are asked for by source and team
    fill(engine)
    query = {"range": "all", "source": "shop", "team": "billing", "by": "day"}
    parameters = window(query).parameters
    answers = {name: ask(reader, plot.statement, parameters).rows for name, plot in PLOTS.items()}

    def plain(statement: str) -> list[tuple[Any, ...]]:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(statement))]

    sentiment = "FROM predictions WHERE current AND task = 'sentiment' AND source = 'shop'"
    tickets = "FROM assignments WHERE source = 'shop' AND team = 'billing'"
    # Then every plot says what plain SQL says
    by_day = plain(
        f"SELECT date_trunc('day', item_created_at), label, count(*) {sentiment} GROUP BY 1, 2 ORDER BY 1, 2"
    )
    assert by_day == [(row.start, row.label, row.items) for row in answers["sentiment"]]
    assert by_day
    for start in {row.start for row in answers["sentiment"]}:
        assert pytest.approx(1) == sum(row.share for row in answers["sentiment"] if row.start == start)
    by_label = plain(f"SELECT source, label, count(*) {sentiment} GROUP BY 1, 2 ORDER BY 1, 2")
    assert by_label == [(row.source, row.label, row.items) for row in answers["sources"]]
    by_status = plain(f"SELECT team, status, count(*), count(*) FILTER (WHERE score < 0.7) {tickets} GROUP BY 1, 2")
    assert by_status == [tuple(row) for row in answers["teams"]]
    low = plain(f"SELECT count(*), count(*) FILTER (WHERE score < 0.7) {tickets}")
    low += plain(f"SELECT count(*), count(*) FILTER (WHERE score < 0.7) {sentiment}")
    for (results, unsure), task in zip(low, ("routing", "sentiment"), strict=True):
        of_task = [row for row in answers["confidence"] if row.task == task]
        assert (results, unsure) == (sum(row.results for row in of_task), sum(row.low_confidence for row in of_task))
    results = plain("SELECT count(*) FROM predictions")[0][0]
    assert [results, results] == [sum(row.results for row in answers[name]) for name in ("queue-times", "infer-times")]
    taken = plain("SELECT lane, count(*) FROM items GROUP BY 1 ORDER BY 1")
    counted = Counter[str]()
    for row in answers["throughput"]:
        counted[row.lane] += row.items
    assert taken == sorted(counted.items())
    waiting = ask(reader, PLOTS["dead-letters"].statement, window({"range": "all", "source": "=shop"}).parameters).rows
    assert [("missing_field", "text", 4)] == [tuple(row)[:3] for row in waiting]

    # and so do the figures on top
    (figures,) = ask(reader, tiles.STATEMENT, parameters).rows
    negative = plain(f"SELECT count(*), count(*) FILTER (WHERE label = 'negative') {sentiment}")[0]
    assert (*negative, plain(f"SELECT count(*) {tickets}")[0][0]) == (figures.items, figures.negative, figures.tickets)


CLOCKS = (
    ("Asia/Shanghai", "2026-03-06"),
    ("America/New_York", "2026-03-06"),  # the clock goes forward on the 8th
    ("America/New_York", "2026-10-30"),  # and back on the 1st
    ("America/Havana", "2026-10-30"),  # back at one, to a second midnight
    ("Asia/Kathmandu", "2026-03-06"),  # between the hours of UTC
)


def test_days_begin_at_midnight_of_the_zone(engine: Engine, reader: Engine) -> None:
    # Given an item at the beginning of every hour around the changes of the clock
    firsts = (datetime(2026, 3, 5, 12, tzinfo=UTC), datetime(2026, 10, 29, 12, tzinfo=UTC))
    hours = [first + timedelta(hours=number) for first in firsts for number in range(144)]
    Sink(engine).write([comment(str(at), created_at=at, seq=n) for n, at in enumerate(hours)], datetime.now(UTC))
    for zone, begin in CLOCKS:
        place = ZoneInfo(zone)
        dates = [(date.fromisoformat(begin) + timedelta(days=n)).isoformat() for n in range(6)]

        # when five days are asked for
        board = board_of(reader, {"from": begin, "to": dates[-1], "by": "day", "zone": zone})

        # then each is one bar from midnight to midnight of that place, with the items of as many hours as it has
        chart = next(each.chart for each in board.plots if each.plot.name == "sentiment")
        assert chart
        midnights = [datetime.fromisoformat(at).astimezone(place) for at in chart["x"]]
        assert dates[:-1] == [at.date().isoformat() for at in midnights]
        assert {0} == {at.hour for at in midnights}
        expected = Counter(at.astimezone(place).date().isoformat() for at in hours)
        assert [expected[day] for day in dates[:-1]] == chart["series"][0]["values"], zone
        assert board.window.is_between_hours == (zone == "Asia/Kathmandu")


def test_bins_without_items_are_there_and_long_times_take_longer_bins(engine: Engine, reader: Engine) -> None:
    # Given items two weeks apart and one that claims to be of the year 2100
    now = datetime.now(UTC)
    times = (now, now - timedelta(days=14), datetime(2100, 1, 1, tzinfo=UTC))
    Sink(engine).write([comment(str(n), created_at=at, seq=n) for n, at in enumerate(times)], now)

    def chart_of(query: dict[str, str]) -> dict[str, Any]:
        board = board_of(reader, query)
        chart = next(each.chart for each in board.plots if each.plot.name == "sentiment")
        assert chart
        return chart

    # when a month is asked for, then every day is there and the mistake is not
    month = chart_of({"range": "30d"})
    assert (31, 2, "day") == (len(month["x"]), sum(month["series"][0]["values"]), month["bin"])
    # and hours of all time become weeks, those that have items
    everything = chart_of({"range": "all", "by": "hour"})
    assert (3, "week") == (len(everything["x"]), everything["bin"])


def cell(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def test_csv_is_the_rows_of_the_plot_and_no_formula(engine: Engine, reader: Engine, browse: Browse) -> None:
    # Given plots with rows
    fill(engine)
    browser = browse()
    for name, plot in PLOTS.items():
        # when their CSV is fetched with the page's filters
        answer = browser.get(f"/dashboard/{name}.csv", params={"range": "7d", "zone": "Asia/Shanghai"})
        expected = ask(reader, plot.statement, window({"range": "7d", "zone": "Asia/Shanghai"}).parameters)
        if name == "dead-letters":  # those are of another year
            answer = browser.get(f"/dashboard/{name}.csv?range=all")
            expected = ask(reader, plot.statement, window({"range": "all"}).parameters)
        # then it is what the statement gives
        assert b"\xef\xbb\xbf" == answer.content[:3]
        assert f'attachment; filename="fenliu-{name}.csv"' == answer.headers["content-disposition"]
        header, *lines = csv.reader(io.StringIO(answer.content.decode("utf-8-sig")))
        assert list(expected.columns) == header
        shown = [
            [value.isoformat() if isinstance(value, datetime) else str(value) for value in row] for row in expected.rows
        ]
        assert shown == lines
        assert lines


HOSTILE = [
    "range=yesterday&by=second&lane=both&task=x",
    "from=0001-01-01T00:00&to=9999-12-31T23:59&zone=Pacific/Kiritimati",
    "from=1900-01-01T00:00&to=2199-12-31T23:59&by=hour&zone=Asia/Kolkata",
    "from=0001-01-01T00:00%2B14:00&to=9999-12-31T23:59-12:00",
    "from=2026-01-02&to=2026-01-01",
    "from=2026-02-30&to=NaN",
    "source=" + "x" * 5000 + "&team=%27%3BDROP%20TABLE%20items--",
    "source=%25(source)s&team=%25s%25%25%5C",
    "zone=Mars/Base&range=all",
    "zone=../../etc/passwd",
    "zone=localtime&by=day",
    "source=%F0%9F%98%84&team=%FF%FE",
    "from=" + "9" * 4000,
]


def test_odd_questions_are_answered(engine: Engine, browse: Browse) -> None:
    fill(engine)
    browser = browse()
    for query in HOSTILE:
        # When somebody asks what no form would, then the page answers, and no plot fails
        page = browser.get(f"/dashboard?{query}", headers={"HX-Request": "true"} if "zone" in query else {})
        assert 200 == page.status_code, query
        assert AWAY not in unescape(page.text), query
        # and so does its CSV, which rather says what is wrong than leave it out
        is_wrong = bool(re.search(r'<p class="problem" id="problem-\w+"[^>]*>[^<]', page.text))
        assert (422 if is_wrong else 200) == browser.get(f"/dashboard/sentiment.csv?{query}").status_code, query


def test_items_of_no_known_time_are_counted_and_break_no_plot(engine: Engine, browse: Browse, reader: Engine) -> None:
    # Given systems that write the first or the last time there is where they know none
    fill(engine)
    ends = (datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, tzinfo=UTC))
    Sink(engine).write(
        [comment(f"end{number}", 0, seq=1_000 + number, created_at=at) for number, at in enumerate(ends)],
        datetime.now(UTC),
    )
    # When somebody looks at all time, in whatever bins and zone, then everything is drawn and the sums count them
    for query in ({}, {"by": "hour"}, {"by": "week", "zone": "Pacific/Apia"}, {"by": "day", "zone": "America/Adak"}):
        board = board_of(reader, {"range": "all", **query})
        assert {None} == {drawn.problem for drawn in board.plots}
        assert "122" == board.tiles[0].value
        items = re.search(r"Items: (\d+)", str((board.plots[0].chart or {})["about"]))
        assert items
        assert "120" == items[1]
    for query in HOSTILE:
        assert 200 == browse().get(f"/dashboard?{query}").status_code, query


def test_what_cannot_be_stored_is_refused(browse: Browse) -> None:
    assert 400 <= browse().get("/dashboard?source=a%00b").status_code < 500
    assert 404 == browse().get("/dashboard/users.csv").status_code


def test_zones_of_cookies_are_checked(engine: Engine, browse: Browse) -> None:
    fill(engine)
    browser = browse()
    for cookie, zone in (("Asia%2FShanghai", "Asia/Shanghai"), ("Mars%2FBase", "UTC"), ("%00'", "UTC")):
        browser.cookies.set("fenliu_zone", cookie)
        assert f"days begin in {zone}" in browser.get("/dashboard?range=7d").text


def test_a_slow_view_keeps_no_other_from_being_shown(engine: Engine, reader: Engine) -> None:
    # Given somebody who holds one of the sums for long
    fill(engine)
    with engine.begin() as connection:
        connection.execute(text("LOCK TABLE rollup_routing IN ACCESS EXCLUSIVE MODE"))
        # when the dashboard is looked at
        board = board_of(reader, {"range": "all"})
    # then what needs them says so, and the rest is there
    problems = {each.plot.name: each.problem for each in board.plots if each.problem}
    assert {"teams": TOO_SLOW, "confidence": TOO_SLOW} == problems
    assert {"sentiment", "sources", "queue-times", "infer-times", "throughput", "dead-letters"} == {
        each.plot.name for each in board.plots if each.chart
    }


def test_without_a_database_the_page_still_stands(settings: Settings, browse: Browse) -> None:
    # Given plots that are read from nowhere
    gone = settings.model_copy(update={"database_url": "postgresql://fenliu@/gone?host=/nowhere"})
    page = browse(make_reader(gone, statement_timeout_s=1)).get("/dashboard?range=7d")
    # then each place says so
    assert 200 == page.status_code
    assert len(PLOTS) + 1 == page.text.count(AWAY)
    assert "Nothing has come in yet" not in page.text


def test_an_empty_database_says_how_to_fill_it_and_an_empty_hour_where_to_look(engine: Engine, browse: Browse) -> None:
    # Given nothing at all, then the page says what to do
    browser = browse()
    empty = browser.get("/dashboard").text
    assert "Nothing has come in yet" in empty
    assert "fenliu enqueue" in empty
    # and with items of another time, it offers a longer one
    fill(engine)
    hour = browser.get("/dashboard?range=1h&source=nowhere").text
    assert "Nothing has come in yet" not in hour
    assert 'href="/dashboard?source=nowhere"' in hour
    assert "does not apply here" in hour


def test_open_alerts_stand_on_top(engine: Engine, browse: Browse) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO alerts (measure, task, model, model_version, value, bound, message, ended_at) VALUES"
                " ('labels', 'sentiment', 'm', '1', 0.3, 0.2, 'labels <drift>', NULL),"
                " ('accuracy', 'routing', 'm', '1', 0.3, 0.5, 'is over', now())"
            )
        )
    page = browse().get("/dashboard").text
    assert "labels &lt;drift&gt;" in page
    assert "is over" not in page


def test_nothing_but_the_views_is_read(reader: Engine) -> None:
    for statement in STATEMENTS.values():
        tables = set(re.findall(r"(?:FROM|JOIN) (\w+)", statement)) - {"now"}
        assert tables
        assert all(name.startswith("dash_") for name in tables), tables


def test_what_is_asked_is_what_is_filtered(engine: Engine, reader: Engine) -> None:
    # Given a statement, then lines of filters that are not set are neither run nor shown
    answer: Answer = ask(reader, PLOTS["teams"].statement, window({"range": "all"}).parameters)
    assert "AND" not in answer.shown
    named = ask(reader, PLOTS["teams"].statement, window({"range": "all", "team": "a'b"}).parameters)
    assert "AND team = 'a''b'" in named.shown
    assert Filters() == parsed({}, "UTC")[0]
