"""Trying the model in a browser: type, press, see bars; examples, long texts, files; what is said without workers."""

from __future__ import annotations

import csv
import io
from typing import Any

from schemas.names import Lane
from tests.acceptance.browser.conftest import Visitor
from tests.acceptance.conftest import Place
from tests.waiting import wait_for


def _worker(place: Place) -> None:
    """Start a worker, and wait until it says that it is there."""
    worker = place.workers.start()
    pattern = f"{place.settings.keys.worker_prefix}*"
    wait_for(lambda: worker.poll() is not None or any(place.client.scan_iter(pattern)), 60, "a worker's heartbeat")


def _values(page: Any, where: str = "#result") -> dict[str, str]:
    """The bars as a reader of the screen has them: label and percent."""
    bars = page.locator(f"{where} .verdict .bar")
    names = [name.partition(" ✓")[0] for name in bars.locator(".name").all_inner_texts()]
    values = [track.get_attribute("aria-label") for track in bars.locator(".track").all()]
    return dict(zip(names, values, strict=True))


def _percent(value: str) -> float:
    return float(value.rstrip("%"))


def test_from_typing_a_text_to_seeing_the_bars(visitor: Visitor, place: Place) -> None:
    _worker(place)
    visitor.expected.add(422)  # type: ignore[attr-defined]
    # Given somebody on the page, whose cursor is in the field, when she types and presses Ctrl+Enter
    page = visitor("/try")
    page.keyboard.type("The battery died after two days and nobody answers. I want my money back.")
    assert "73 of 20,000 characters" == page.locator("#text-count").inner_text()
    page.keyboard.press("Control+Enter")
    # then she sees a face, the label, bars that sum to 100 %, and who said so
    page.locator("#label", has_text="negative").wait_for()
    assert "😠" in page.locator("#verdict").inner_text()
    values = _values(page)
    assert ["negative", "positive"] == list(values)
    assert abs(100 - sum(map(_percent, values.values()))) <= 0.11
    assert all(word in page.locator(".facts").inner_text() for word in ("fenliu-e5", "classifier", "ms there and back"))

    # When she asks for labels of her own, but has given one twice
    page.get_by_label("Labels of your own").check()
    page.get_by_label("Labels", exact=True).fill("billing, delivery, billing")
    page.get_by_role("button", name="Classify Ctrl").click()
    # then the field says so
    page.locator("#labels-problem", has_text="“billing” is there twice").wait_for()
    page.locator("#labels:focus").wait_for()
    # and when she describes them, and lets several be right
    page.get_by_label("Labels", exact=True).fill("refund: wants the money back\nquality: broken, worn out\nweather")
    page.get_by_label("Several labels may be right").check()
    page.get_by_role("button", name="Classify Ctrl").click()
    # then there is a bar for each, the greatest first, and those that count are marked
    page.locator(".passes").first.wait_for()
    values = _values(page)
    assert {"refund", "quality", "weather"} == set(values)
    percents = [_percent(value) for value in values.values()]
    assert sorted(percents, reverse=True) == percents
    assert sum(value >= 50 for value in percents) == page.locator(".passes").count()
    assert "" == page.locator("#labels-problem").inner_text()
    assert 0 == place.one("SELECT count(*) FROM items")

    # Given a Chinese reader with a narrow screen, who uses the keyboard alone, when he goes to the long example
    page = visitor("/try", locale="zh-CN", width=360, height=740)
    for _ in range(40):
        if page.evaluate("document.activeElement.textContent") == "长篇点评":
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    # then the field is filled, and each part of it says something of its own
    page.locator(".parts > li").first.wait_for()
    text = page.locator("#text").input_value()
    parts = page.locator(".parts > li")
    assert parts.count() > 1
    assert parts.first.locator(".text").inner_text().partition("字 ")[2].startswith(text[:20])
    moods = {part.locator(".bar").first.get_attribute("class") for part in parts.all()}
    assert 2 == len(moods), "the review begins with praise and ends with a complaint"
    assert "正面" in page.locator(".parts").inner_text()
    assert 360 >= page.evaluate("document.documentElement.scrollWidth")

    # Given a browser without scripts, when an example is clicked and then a text of one's own is sent
    page = visitor("/try", java_script_enabled=False)
    page.get_by_role("button", name="A ticket among teams").click()
    assert "物流配送" == next(iter(_values(page)))
    assert page.get_by_label("Labels of your own").is_checked()
    page.get_by_label("Sentiment").check()
    page.get_by_label("Text", exact=True).fill("很好，非常满意！")
    page.get_by_role("button", name="Classify Ctrl").click()
    # then both have their result in the page
    assert "😄" in page.locator("#verdict").inner_text()
    assert "很好，非常满意！" == page.locator("#text").input_value()
    page.get_by_label("Text", exact=True).fill("")
    page.get_by_role("button", name="Classify Ctrl").click()
    assert "Type a text first" in page.locator("#text-problem").inner_text()
    page.close()  # what looks a page over at the end of a test is a script


def test_from_a_file_to_its_table_to_csv(visitor: Visitor, place: Place) -> None:
    _worker(place)
    visitor.expected.add(422)  # type: ignore[attr-defined]
    # Given a spreadsheet of comments as an old Excel writes it, one of them empty, one a formula
    comments = ["很好，非常满意", "物流太慢了，再也不买", "", "=1+1 很差", *["质量不错，推荐购买"] * 120]
    sheet = io.StringIO()
    csv.writer(sheet).writerows([["编号", "内容"], *([number, text] for number, text in enumerate(comments))])
    file = {"name": "评论.csv", "mimeType": "text/csv", "buffer": sheet.getvalue().encode("gb18030")}
    page = visitor("/try")
    page.get_by_text("A file of texts").click()
    # when no file is chosen, then that is said
    page.get_by_role("button", name="Classify the file").click()
    page.locator("#file-problem", has_text="Choose a file first").wait_for()
    # when it is sent
    page.get_by_label("File", exact=True).set_input_files(file)
    page.get_by_role("button", name="Classify the file").click()
    # then there is a table with counts, and the row that failed keeps its reason
    page.get_by_role("heading", name="评论.csv").wait_for()
    assert "All 124" in page.locator("#all").inner_text()
    page.get_by_role("link", name="Failed 1").click()
    page.locator("#failed[aria-current]").wait_for()
    assert ["4 The text is empty."] == [" ".join(text.split()) for text in page.locator("tbody tr").all_inner_texts()]
    # and it can be sorted and filtered
    page.get_by_role("link", name="negative").click()
    page.locator("[id^=label-][aria-current]", has_text="negative").wait_for()
    page.get_by_role("link", name="Score").click()
    page.locator("th[aria-sort=descending]", has_text="Score").wait_for()
    scores = [_percent(text) for text in page.locator("tbody td.number:last-child").all_inner_texts()]
    assert len(scores) >= 2
    assert sorted(scores, reverse=True) == scores
    # and it can be taken along, without a second run
    place.client.delete(*place.client.scan_iter(f"{place.settings.keys.worker_prefix}*"))
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as CSV").click()
    content = download.value.path().read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    assert [comment if not comment.startswith("=") else f"'{comment}" for comment in comments] == [
        row["text"] for row in rows
    ]
    assert ("positive", "negative", "", "The text is empty.") == (
        rows[0]["label"], rows[1]["label"], rows[2]["label"], rows[2]["error"],
    )  # fmt: skip
    assert float(rows[1]["score"]) == float(rows[1]["score of negative"])
    # and nobody else can see it
    visitor.expected.add(404)  # type: ignore[attr-defined]
    stranger = visitor(page.url)
    assert "no longer kept" in stranger.locator("main").inner_text()


def test_without_workers_people_are_told_at_once(visitor: Visitor, place: Place) -> None:
    visitor.expected.update({503, 429})  # type: ignore[attr-defined]
    # Given no worker, when a text is sent, then the page says what to start, and nothing waits in the inbox
    page = visitor("/try", locale="zh-CN")
    page.get_by_label("文本", exact=True).fill("你好")
    page.get_by_role("button", name="开始分析", exact=False).first.click()
    page.get_by_role("alert").filter(has_text="fenliu worker").wait_for()
    assert (0, 0) == place.left()
    assert "你好" == page.locator("#text").input_value()

    # Given a worker that is there but does nothing, when the button is clicked twice, then one text waits
    place.client.set(place.settings.keys.worker("stuck@here"), "1")
    inbox = place.settings.keys.inbox(Lane.LIVE)
    page = visitor("/try")
    page.get_by_label("Text", exact=True).fill("first")
    page.get_by_role("button", name="Classify Ctrl").dblclick()
    wait_for(lambda: place.client.xlen(inbox) == 1, what="one text in the inbox")
    assert page.get_by_text("Working …").is_visible()
    # and when she types on, then nobody waits for it any more, and it is taken back
    page.get_by_label("Text", exact=True).press("End")
    page.keyboard.type(" and second")
    wait_for(lambda: place.client.xlen(inbox) == 0, what="an inbox without what nobody waits for")
    assert not page.get_by_text("Working …").is_visible()
    # and when she leaves the page, too
    page.keyboard.press("Control+Enter")
    wait_for(lambda: place.client.xlen(inbox) == 1, what="a text in the inbox")
    page.goto("/dashboard")
    wait_for(lambda: place.client.xlen(inbox) == 0, what="an inbox without what nobody waits for")
