"""The review page in the browser: from an unsure ticket to its new team, by mouse, by keys alone, by two at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from schemas.names import Role
from tests.acceptance.browser.conftest import Visitor
from tests.acceptance.conftest import Place
from tests.integration.queued import apply_teams, in_triage, store, unsure
from worker.desk import users

HOSTILE = "</p><script>document.title='taken'</script>发票抬头写错了，怎么改"
PARCEL = "订单 {} 的包裹到现在还没有更新物流信息，请帮我查询一下"
PASSWORD = "a long enough secret 8"


@pytest.fixture
def place(place: Place) -> Iterator[Place]:
    """Without random items."""
    place.settings = place.settings.model_copy(update={"review_random_share": 0.0})
    yield place


def settled(page: Any) -> str:
    """What the page says once nothing is on its way."""
    page.locator("html:not(.loading)").wait_for()  # no wait_for_function: its polls need eval, which pages forbid
    return str(page.locator("main").inner_text())


def test_from_an_unsure_ticket_to_its_new_team(visitor: Visitor, place: Place) -> None:
    # Given an empty queue, which says so kindly
    page = visitor("/review?task=routing&source=<b>&team=%27")
    assert "Nothing waits for review" in settled(page)
    # and then three tickets that say the same in triage, and one more
    apply_teams(place.engine)
    store(place.engine, *(in_triage(f"P{n}", PARCEL.format(n * 37), score=0.2) for n in range(3)))
    store(place.engine, in_triage("T1", HOSTILE, score=0.3))

    # When a reviewer takes the first one
    page.goto("/review?task=routing")
    page.get_by_role("button", name="Take the next one").click()
    page.get_by_text("and 2 like it").click()
    # Then its copies stand below it, and neither score nor reason are told yet
    assert page.get_by_text(PARCEL.format(74)).is_visible()
    assert "20%" not in settled(page)
    # When a label is asked for that there is not, then that is said beside the field, and nothing is done
    page.get_by_label("Any label, found by typing").fill("nobody")
    page.get_by_role("button", name="Correct", exact=True).last.click()
    page.get_by_text("“nobody” is no label here").wait_for()
    # When it and its copies are given to shipping
    page.get_by_label("The same for all 2 copies").check()
    page.get_by_label("Note").fill("包裹")
    page.get_by_role("button", name="shipping", exact=False).first.click()
    # Then the next one is there at once, with what was done and why it was shown
    page.get_by_text("Corrected: shipping instead of billing").wait_for()
    said = settled(page)
    assert "T1" in said
    assert "the model was not sure: 20%" in said
    assert "2 like it were judged the same" in said
    assert [("shipping", "overridden", 3)] == place.rows(
        "SELECT team, status, count(*) FROM assignments WHERE item_id LIKE 'P%' GROUP BY 1, 2"
    )
    assert [("local", "triage", "shipping", "review: 包裹")] * 3 == place.rows(
        "SELECT who, from_team, to_team, why FROM assignment_events WHERE item_id LIKE 'P%' AND who = 'local'"
    )

    # When its text is made an example by one click, and taken out again
    page.get_by_role("button", name="Add as an example of shipping").click()
    page.get_by_text("Its text is an example of shipping.").wait_for()
    assert [(PARCEL.format(0),)] == place.rows(
        "SELECT examples->>0 FROM routes WHERE team = 'shipping' AND version = 4"
    )
    page.get_by_role("button", name="Take the example out").click()
    page.get_by_text("version 5").wait_for()

    # When the reviewer leaves the page, then others may have the item, and it is his again when he is back
    page.goto("/review/history")
    assert "Corrected: shipping instead of billing" in settled(page)
    assert "local" in page.locator("tbody tr").last.inner_text()
    assert [(True,)] == place.rows("SELECT claimed_at <= now() - interval '600 s' FROM reviews WHERE state = 'claimed'")
    page.goto("/review?task=routing")
    assert "发票抬头写错了" in settled(page)
    page.get_by_role("button", name="Give it back").click()
    page.get_by_text("Results wait for a look").wait_for()
    assert 0 == place.one("SELECT count(*) FROM reviews WHERE state = 'claimed'")
    for hostile in (
        "before=x,1",
        "task=&reviewer=%27&before=,",
        "before=2026-01-01T00:00:00%2B00:00,99999999999999999999",
    ):
        page.goto(f"/review/history?{hostile}")
        assert "Reviews so far" in settled(page)


def test_by_keys_alone_on_a_narrow_screen_in_chinese(visitor: Visitor, place: Place) -> None:
    # Given four comments, and a reviewer with a phone and a keyboard who reads Chinese
    for number, said in enumerate(("物流太慢了" * 30, "客服真好", "颜色不一样", "说明书看不懂")):
        store(place.engine, unsure(f"C{number}", said, 0.5 + number / 100))
    page = visitor("/review", locale="zh-CN", width=360, height=740)
    press = page.keyboard.press

    def decided() -> list[tuple[Any, ...]]:
        settled(page)
        return place.rows("SELECT item_id, state, label FROM reviews ORDER BY item_id")

    # When the next one is taken, accepted, the one after it corrected by its number, and the third skipped
    press("n")
    page.get_by_text("C0", exact=False).wait_for()
    press("a")
    page.get_by_text("已认可：正面").wait_for()
    assert 360 >= page.evaluate("document.documentElement.scrollWidth")
    press("1")
    page.get_by_text("已更正：负面，原为 正面").wait_for()
    press("s")
    page.get_by_text("已跳过。").wait_for()
    done = [("C0", "accepted", "positive"), ("C1", "corrected", "negative"), ("C2", "skipped", None)]
    assert [*done, ("C3", "claimed", None)] == decided()
    # and a letter that is typed in a field is no key
    press("c")
    page.keyboard.type("saur")
    assert "saur" == page.get_by_label("输入以查找任意标签").input_value()
    press("Escape")
    # and two are undone, and the one that is held then is given back
    press("u")
    page.locator(".item", has_text="C2").wait_for()
    press("u")
    page.locator(".item", has_text="C1").wait_for()
    assert [*done[:1], ("C1", "claimed", None)] == decided()
    # and the keys are shown and closed
    press("?")
    assert page.get_by_role("dialog").is_visible()
    press("Escape")
    press("r")
    page.get_by_text("有结果等待查看").wait_for()
    assert done[:1] == decided()
    assert "您今天已复核：1 条" in settled(page)


def test_two_reviewers_at_once_get_different_items(visitor: Visitor, place: Place) -> None:
    # Given two reviewers who have logged in
    for name, role in (("boss", Role.ADMIN), ("li", Role.REVIEWER), ("mei", Role.REVIEWER)):
        users.create(place.engine, name, PASSWORD, role)
    store(place.engine, unsure("A", "物流太慢了"), unsure("B", "客服真好", 0.65))
    pages = {}
    for name in ("li", "mei"):
        page = pages[name] = visitor("/login?next=/review")
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        # When each takes one
        page.get_by_role("button", name="Take the next one").click()
        page.locator(".item").wait_for()
    # Then they have different ones
    assert [("A", "li"), ("B", "mei")] == place.rows("SELECT item_id, reviewer FROM reviews ORDER BY item_id")
    # When li's claim runs out and mei, who is done, takes his
    with place.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE reviews SET claimed_at = now() - interval '1 hour' WHERE reviewer = 'li'")
    pages["mei"].get_by_role("button", name="Accept").click()
    pages["mei"].locator(".item", has_text="A").wait_for()
    # Then li is told who has it
    pages["li"].get_by_role("button", name="Accept").click()
    pages["li"].get_by_text("shop/A is with mei now").wait_for()
    # and what mei holds is given back when she logs out
    pages["mei"].get_by_role("button", name="Log out").click()
    pages["mei"].get_by_label("Password").wait_for()
    assert 0 == place.one("SELECT count(*) FROM reviews WHERE state = 'claimed'")
