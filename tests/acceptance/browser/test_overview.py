"""The dashboard as an analyst meets it: plots, filters in the address, SQL, CSV, and what happens at this moment."""

from __future__ import annotations

import csv
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.acceptance.browser.conftest import Visitor, sync_api
from tests.acceptance.conftest import Place
from tests.integration.outcomes import comment, dead, ticket
from tests.waiting import wait_for
from worker.outcome import Outcome
from worker.sink import Sink

PLOTS = ("sentiment", "sources", "teams", "confidence", "queue-times", "infer-times", "throughput", "dead-letters")
FORUM = "<b>论坛</b>"
# What a canvas shows, read from a copy: Chromium warns of those that are read again and again.
PIXELS = """const pixels = (canvas) => {
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  return new Uint32Array(copy.getImageData(0, 0, canvas.width, canvas.height).data.buffer);
};"""
# Whether every plot is drawn: a canvas that is not has one colour.
ARE_DRAWN = f"""() => {{
  {PIXELS}
  const canvases = [...document.querySelectorAll(".plot")].map((place) => place.querySelector("canvas"));
  return canvases.every((canvas) => canvas && new Set(pixels(canvas)).size > 5);
}}"""
# Whether the plot of low confidence shows anything in the colour of its first series.
HAS_POINT = f"""() => {{
  {PIXELS}
  const canvas = document.querySelector("#confidence canvas");
  const dot = new OffscreenCanvas(1, 1);
  const brush = dot.getContext("2d");
  const probe = document.body.appendChild(document.createElement("span"));
  probe.style.color = "var(--plot-1)";
  brush.fillStyle = getComputedStyle(probe).color;
  probe.remove();
  brush.fillRect(0, 0, 1, 1);
  return Boolean(canvas) && pixels(canvas).includes(pixels(dot)[0]);
}}"""


@pytest.fixture(autouse=True)
def _patience() -> None:
    """A busy machine takes its time; the figures of the moment come every 5 s."""
    sync_api.expect.set_options(timeout=30_000)


def fill(place: Place) -> None:
    """400 comments and 100 tickets of the last days, by three sources, and five dead letters."""
    now = datetime.now(UTC)
    outcomes: list[Outcome] = []
    for number in range(400):
        at, source = now - timedelta(minutes=17 * number), ("shop", "app", FORUM)[number % 3]
        label = "negative" if number % 5 == 0 else "positive"
        outcomes.append(comment(f"c{number}", 0, label, seq=number, source=source, created_at=at))
        if number % 4 == 0:
            team = ("billing", "returns", "legal")[number % 3]
            outcomes.append(ticket(f"t{number}", 0, team, score=0.5 + number % 5 / 10, created_at=at, seq=number))
    outcomes += [dead({"id": str(number), "source": "shop"}, at_s=number) for number in range(5)]
    Sink(place.engine).write(outcomes, now)


def drawn(page: Any) -> set[str]:
    """The plots on the page, once all of them are drawn."""
    wait_for(lambda: page.evaluate(ARE_DRAWN), what="every plot drawn")
    return {each.get_attribute("data-plot").removeprefix("data-") for each in page.locator(".plot").all()}


def query_of(page: Any) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def tile(page: Any, name: str) -> str:
    return str(page.locator("#board .tile", has_text=name).locator("dd").first.inner_text())


def test_an_analyst_looks_closer_and_takes_it_along(place: Place, visitor: Visitor) -> None:
    expect = sync_api.expect
    # Given a week's items, when somebody opens the dashboard
    fill(place)
    clipboard = ["clipboard-read", "clipboard-write"]
    page = visitor("/dashboard?range=7d", timezone_id="Asia/Shanghai", permissions=clipboard)

    # then every plot with data in this time is drawn and says in words what it shows, in the browser's own zone
    expect(page.locator("#board")).to_contain_text("days begin in Asia/Shanghai")
    assert {*PLOTS} == drawn(page)
    assert "Sentiment over time: Items: 500; negative: 16%." == page.locator(".plot").first.get_attribute("aria-label")

    # When they filter with the keyboard alone
    page.locator("#filter-by").focus()
    page.keyboard.press("Tab")
    page.keyboard.type("app")
    page.keyboard.press("Enter")
    # then the plots change, the address says why, and a plot that knows no sources says so
    expect(page.locator("#board .tile dd").first).to_have_text("133")
    assert {"range": ["7d"], "source": ["app"]} == query_of(page)
    expect(page.locator("#throughput")).to_contain_text("The filter source does not apply here.")
    assert "filter-source" == page.evaluate("document.activeElement.id")

    # and it stays so when the page is loaded again; back leads to all sources, and forward here again
    page.reload()
    assert ("app", "133") == (page.locator("#filter-source").input_value(), tile(page, "Items"))
    page.locator("#filter-range").select_option("24h")
    expect(page.locator("#board .tile dd").first).not_to_have_text("133")
    page.go_back()
    expect(page.locator("#filter-range")).to_have_value("7d")
    expect(page.locator("#board .tile dd").first).to_have_text("133")
    expect(page.locator(".plot canvas")).to_have_count(6)
    assert {*PLOTS} - {"teams", "dead-letters"} == drawn(page)  # of which the app has none

    # When they open the SQL, then it can be copied, and psql gets the same from it
    sources = page.locator("#sources")
    sources.locator("summary").focus()
    page.keyboard.press("Enter")
    shown = sources.locator("code").inner_text()
    sources.get_by_role("button", name="Copy").press("Enter")
    expect(page.locator("#messages")).to_contain_text("Copied")
    assert shown == page.evaluate("navigator.clipboard.readText()")
    rows = place.rows(shown.rstrip(";"))
    # and the CSV is the same
    with page.expect_download() as download:
        sources.get_by_role("link", name="CSV").click()
    content = Path(download.value.path()).read_text(encoding="utf-8-sig")
    assert [["source", "label", "items", "share"], *([str(cell) for cell in row] for row in rows)] == list(
        csv.reader(content.splitlines())
    )
    assert {"app"} == {row[0] for row in rows}

    # When they ask for what cannot be, then it is said beside the field, and the rest is shown
    page.goto("/dashboard?from=2026-03-02T00:00&to=2026-03-01T00:00")
    expect(page.locator("#problem-to")).to_have_text("The end must come after the beginning.")
    page.locator("#filter-to").fill("2026-03-02T00:30")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#problem-to")).to_be_empty()
    # and where there is nothing, a longer time is offered
    expect(page.locator("#sentiment")).to_contain_text("Nothing in this time")
    page.locator("#sentiment").get_by_role("link", name="Look further back").click()
    expect(page.locator("#dead-letters canvas")).to_have_count(1)
    assert (["all"], "500") == (query_of(page)["range"], tile(page, "Items"))


def test_it_is_at_home_in_chinese_on_a_phone_and_in_the_dark(place: Place, visitor: Visitor) -> None:
    expect = sync_api.expect
    fill(place)
    # Given a narrow screen in Chinese
    page = visitor("/dashboard?range=all", locale="zh-CN", width=360, height=740, timezone_id="Asia/Shanghai")
    expect(page.locator("#board")).to_contain_text("按 Asia/Shanghai 计算")
    # then nothing scrolls sideways, every plot is drawn, and what it says is Chinese
    assert 360 >= page.evaluate("document.documentElement.scrollWidth")
    assert {*PLOTS} == drawn(page)
    label = page.locator(".plot").first.get_attribute("aria-label")
    assert "情感走势：条目：500 条；负面：16%。" == label
    words = re.sub(r"\s+", " ", page.locator("#board").inner_text())
    assert not re.findall(r"\b(?:Items|Tickets|negative|filter|Nothing)\b", words)
    # When it grows dark, then plots are drawn anew in other colours; when it grows wide, in another size
    first = page.locator(".plot canvas").first
    light = first.evaluate("(canvas) => canvas.toDataURL()")
    page.emulate_media(color_scheme="dark")
    wait_for(lambda: first.evaluate("(canvas) => canvas.toDataURL()") != light, what="plots in other colours")
    page.set_viewport_size({"width": 900, "height": 740})
    wait_for(lambda: first.evaluate("(canvas) => canvas.clientWidth") > 700, what="plots in another size")


def test_figures_of_the_moment_follow_a_worker(place: Place, visitor: Visitor) -> None:
    expect = sync_api.expect
    # Given an empty database and no worker, then the page says what to do
    page = visitor("/dashboard")
    expect(page.locator(".empty").first).to_contain_text("fenliu enqueue")
    expect(page.locator("#live")).to_contain_text("No worker runs")
    # When items come in, then they are seen waiting, without anything being clicked
    place.add([{"id": str(number), "text": "物流太慢了", "source": "shop"} for number in range(30)])
    expect(page.locator("[data-live=live]")).to_have_text("30")
    # and when a worker starts, they are seen being taken
    place.workers.start()
    place.wait_until_empty()
    page.evaluate("htmx.trigger('#live', 'look')")  # as when somebody comes back to the tab
    expect(page.locator("[data-live=workers]")).to_have_text("1")
    expect(page.locator("[data-live=live]")).to_have_text("0")
    expect(page.locator("[data-live=rate]")).not_to_have_text("0")
    # and the plots have them
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#sentiment canvas")).to_have_count(1)
    assert "30" == tile(page, "Items")
    # and the only one of many hours that has any is seen as a point
    page.goto("/dashboard?range=7d&by=hour")
    wait_for(lambda: page.evaluate(HAS_POINT), what="the only point drawn")
