"""Dead letters in the browser: read, mended, sent back, dropped; with a real worker where one matters."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from schemas.errors import Code
from schemas.messages import RawEntry, identity_of
from schemas.names import Lane
from tests.acceptance.browser.conftest import Visitor, sync_api
from tests.acceptance.conftest import Place
from tests.waiting import wait_for
from worker.outcome import Dead
from worker.sink import Sink

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOSTILE = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"


def write_dead(place: Place, many: int, code: Code = Code.MISSING_FIELD, **fields: bytes) -> None:
    """Dead letters as a worker would have left them: entries without a text, unless `fields` says otherwise."""
    first = place.one("SELECT coalesce(max(id), 0) FROM dead_letters")
    dead = []
    for number in range(first, first + many):
        given = {b"id": b"d%d" % number, b"source": b"shop"} | {name.encode(): value for name, value in fields.items()}
        raw = RawEntry(Lane.LIVE, f"17000000{number:05d}-0", given)
        dead.append(Dead(raw, code, "text", "text: is missing; every entry needs it", identity_of(raw)))
    Sink(place.engine).write(dead, NOW)


def waiting(place: Place) -> int:
    return int(place.one("SELECT count(*) FROM dead_letters WHERE replayed_at IS NULL"))


def read(page: Any) -> str:
    return str(page.locator("main").inner_text())


def test_from_a_dead_letter_to_its_result(visitor: Visitor, place: Place) -> None:
    # Given a worker, and entries that it could not classify: a wrong kind, no text, and tickets without any routes
    place.workers.start()
    place.add([{"id": "1", "source": "shop", "text": f"物流太慢了 {HOSTILE}", "kind": "复杂"}])
    place.add([{"id": "2", "source": "shop", HOSTILE: "x"}])
    place.add([{"id": f"t{number}", "text": f"退款 {number}", "kind": "ticket"} for number in range(60)])
    wait_for(lambda: waiting(place) == 62, 60, "the dead letters")

    # when somebody opens the list, then each stands there with its reason, and what is hostile is text
    page = visitor("/dead-letters")
    assert "62 match" in read(page)
    page.get_by_role("link", name="unknown_kind").click()
    assert "1 match" in read(page)
    assert HOSTILE in read(page)

    # and when he opens the one of a wrong kind, then the cursor is in the wrong field, which says what is wrong
    page.locator("table.letters a").click()
    kind = page.get_by_label("kind", exact=True)
    sync_api.expect(kind).to_be_focused()
    assert "use comment or ticket" in page.locator(".problem").inner_text()
    # He tries another wrong one: nothing is sent. He mends it, and sees it classified.
    kind.fill("complaint")
    page.get_by_role("button", name="Mend and send back").click()
    page.get_by_text("Not sent: a field is wrong.").wait_for()
    assert "complaint" in page.locator(".problem").inner_text()
    page.get_by_label("kind", exact=True).fill("comment")
    page.get_by_role("button", name="Mend and send back").click()
    page.get_by_text("It was classified.").wait_for()
    assert [("done", "comment", f"物流太慢了 {HOSTILE}")] == place.rows(
        "SELECT state, kind, text FROM items WHERE item_id = '1'"
    )
    assert [("local", "复杂")] == place.rows(
        "SELECT replayed_by, raw ->> 'kind' FROM dead_letters WHERE replayed_at IS NOT NULL"
    )

    # The one without a text gets one; its field of a hostile name stays what it is.
    page.goto("/dead-letters?code=missing_field")
    page.locator("table.letters a").click()
    assert HOSTILE in read(page)
    page.get_by_label("text", exact=True).fill("第一行\n第二行")
    page.get_by_role("button", name="Mend and send back").click()
    page.get_by_text("It was classified.").wait_for()
    assert [("第一行\n第二行", HOSTILE)] == place.rows(
        "SELECT text, (SELECT min(key) FROM jsonb_object_keys(meta) AS key) FROM items WHERE item_id = '2'"
    )

    # When the routes are there, all the tickets are sent back at once, and get their teams.
    place.apply_sample_routes()
    page.goto("/dead-letters?code=unknown_route_set")
    page.get_by_role("link", name="Send all of them back").click()
    assert "Send 60 letters back as they are?" in read(page)
    page.get_by_role("button", name="Send 60 back").click()
    page.get_by_text("Done: none is left.").wait_for()
    assert "60 of 60 sent back" in read(page)
    wait_for(lambda: place.one("SELECT count(*) FROM assignments") == 60, 60, "60 tickets with a team")
    page.get_by_role("link", name="Back to the letters").press("Enter")
    page.get_by_text("No dead letters wait").wait_for()
    assert "taken" not in page.title()


@pytest.fixture
def _small_inbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FENLIU_INBOX_BOUND", "100")


@pytest.mark.usefixtures("_small_inbox")
def test_letters_are_ticked_dropped_and_sent_until_the_inbox_is_full(visitor: Visitor, place: Place) -> None:
    # Given more letters than a page shows
    write_dead(place, 120)
    page = visitor("/dead-letters?source=shop")
    assert page.get_by_role("button", name="Drop the ticked").is_disabled()
    # when three are ticked and dropped, then it first says how many
    for number in range(3):
        page.locator("input[name='letter']").nth(number).check()
    page.get_by_role("button", name="Drop the ticked").click()
    assert "Drop 3 letters for good?" in read(page)
    page.get_by_role("link", name="Cancel").click()
    assert 120 == waiting(place)
    page.go_back()
    page.get_by_role("button", name="Drop 3").click()
    page.get_by_text("3 of 3 dropped").wait_for()
    assert 117 == waiting(place)

    # The pages of the list lead on and back, and each keeps the filter.
    page.goto("/dead-letters?source=shop")
    first = page.locator("table.letters a").first.inner_text()
    page.get_by_role("link", name="Older").click()
    page.get_by_role("link", name="Older").click()
    assert 17 == page.locator("table.letters tbody tr").count()
    assert 0 == page.get_by_role("link", name="Older").count()
    page.get_by_role("link", name="Newer").click()
    page.get_by_role("link", name="Newer").click()
    assert "source=shop" in page.url
    assert first == page.locator("table.letters a").first.inner_text()

    # All that match go in one go, when an administrator says so.
    write_dead(place, 2, Code.POISON)
    page.goto("/dead-letters?code=missing_field&text=D1")
    page.get_by_role("link", name="Drop all of them").click()
    page.get_by_role("button", name="Drop").click()
    page.get_by_text("Done: none is left.").wait_for()
    assert 0 == place.one("SELECT count(*) FROM dead_letters WHERE raw ->> 'id' LIKE 'd1%' AND code <> 'poison'")
    assert 2 == place.one("SELECT count(*) FROM dead_letters WHERE code = 'poison'")

    # More than the inbox takes: it says how far it came, and goes on when there is room.
    write_dead(place, 250, Code.BAD_JSON)
    page.goto("/dead-letters/bulk?do=replay&code=bad_json")
    page.get_by_role("button", name="Send 250 back").click()
    page.get_by_text("100 of 250 sent back").wait_for()
    assert "150 are left." in read(page)
    assert "its bound is 100" in read(page)
    place.client.delete(place.settings.keys.inbox(Lane.LIVE))
    page.get_by_role("button", name="Go on").press("Enter")
    page.get_by_text("200 of 250 sent back").wait_for()
    place.client.delete(place.settings.keys.inbox(Lane.LIVE))
    page.get_by_role("button", name="Go on").press("Enter")
    page.get_by_text("Done: none is left.").wait_for()
    assert "250 of 250 sent back" in read(page)
    assert 0 == place.one("SELECT count(*) FROM dead_letters WHERE code = 'bad_json' AND replayed_at IS NULL")


def test_fields_that_are_no_text_with_the_keyboard_in_chinese_on_a_telephone(visitor: Visitor, place: Place) -> None:
    # Given a letter in another encoding, when somebody opens it by the keyboard alone
    write_dead(place, 1, Code.NOT_UTF8, text="物流太慢".encode("gb18030"), meta='{"a": "甲"}'.encode())
    page = visitor("/dead-letters", locale="zh-CN", width=360, height=740)
    assert "1 封符合" in read(page)
    link = page.locator("table.letters a")
    for _ in range(60):
        page.keyboard.press("Tab")
        if link.evaluate("link => link === document.activeElement"):
            break
    page.keyboard.press("Enter")
    page.wait_for_url("**/dead-letters/*")
    assert "字段的字节不是 UTF-8。" in read(page)
    assert 360 >= page.evaluate("document.documentElement.scrollWidth")
    # and puts text in place of the bytes
    page.get_by_role("button", name="用文本替换 text").press("Enter")
    text = page.get_by_label("text", exact=True)
    sync_api.expect(text).to_be_focused()
    assert "物流太慢" == text.input_value()
    # and adds a field
    page.get_by_role("button", name="添加字段").press("Enter")
    sync_api.expect(page.get_by_label("新字段的名称")).to_be_focused()
    page.keyboard.type("deadline")
    page.keyboard.press("Tab")
    page.keyboard.type("2020-01-01T00:00:00Z")
    page.keyboard.press("Enter")
    # then checking says that it would be too late, and without it the entry is sent
    page.get_by_text("截止时间已过").wait_for()
    page.get_by_role("button", name="去掉 deadline").press("Enter")
    page.get_by_label("新字段的名称").wait_for(state="detached")
    page.get_by_role("button", name="修改并送回").press("Enter")
    page.get_by_text("正在收件箱中等待 worker。").wait_for()
    [(_, sent)] = place.client.xrange(place.settings.keys.inbox(Lane.LIVE))
    assert ("物流太慢".encode(), '{"a": "甲"}'.encode()) == (sent[b"text"], sent[b"meta"])
    assert sorted([b"id", b"source", b"text", b"meta", b"created_at", b"updated_at"]) == sorted(sent)
    assert 360 >= page.evaluate("document.documentElement.scrollWidth")


def test_whatever_stands_in_the_address_is_answered(visitor: Visitor, place: Place) -> None:
    write_dead(place, 1)
    page = visitor("/dead-letters")
    visitor.expected.update({403, 404, 422})  # type: ignore[attr-defined]
    for query, status in [
        ("?before=9223372036854775807&after=x", 200),
        ("?before=99999999999999999999", 200),
        ("?letter=%27%20OR%201=1", 200),
        ("?code=%25&source=%27%3B--&item=%5C", 200),
        ("?source=%01", 422),
        ("?source=" + "x" * 201, 422),
        ("?since=yesterday", 422),
        ("?since=0001-01-01T00:00&until=9999-12-31T23:59", 200),
        ("?state=no&lane=fast", 422),
        ("/0", 404),
        ("/" + "9" * 5_000, 404),
        ("/1/outcome", 404),
        ("/bulk", 422),
        ("/bulk?do=erase", 422),
        ("/bulk?do=drop&letter=x", 422),
        ("/bulk?do=drop&ticked=yes", 422),
        ("/bulk?do=replay&code=poison", 200),
    ]:
        assert status == page.goto(f"/dead-letters{query}").status, query
    page.goto("/dead-letters?since=yesterday&source=shop")
    assert "“yesterday” is no time." == page.locator("#since-problem").inner_text()
    assert "shop" == page.get_by_label("Source", exact=True).input_value()
    assert 1 == waiting(place)
