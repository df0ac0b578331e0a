"""What all pages share: the way around, two languages, a narrow screen, the keyboard, messages, lost browsers."""

from __future__ import annotations

from typing import Any

from tests.acceptance.browser.conftest import Visitor

PAGES = ("/try", "/dashboard", "/review", "/quality", "/dead-letters", "/users", "/login")


def sideways(page: Any) -> str:
    """What makes the page wider than the screen; empty if nothing does."""
    found: str = page.evaluate(
        """() => {
          const most = document.documentElement.clientWidth;
          if (document.documentElement.scrollWidth <= most) return "";
          const beyond = (one) => one.getBoundingClientRect().right > most;
          const wide = [...document.querySelectorAll("main *")].filter(beyond);
          return wide.slice(0, 3).map((one) => one.outerHTML.slice(0, 120)).join("; ") || "something";
        }"""
    )
    return found


def test_every_page_opens_in_both_languages_on_an_empty_database_and_a_narrow_screen(visitor: Visitor) -> None:
    # Given nothing in the database, when somebody opens the pages on a telephone
    page = visitor("/try", width=360, height=740)
    english: dict[str, str] = {}
    for path in PAGES:
        page.goto(path)
        # then each has one heading, a title of its own, and needs no sideways scrolling
        assert 1 == page.locator("h1").count(), path
        english[path] = page.title()
        assert "" == sideways(page), path
    assert len(PAGES) == len(set(english.values()))
    # When they change the language, then every page is Chinese, and stays so
    page.get_by_role("link", name="中文").click()
    for path in PAGES:
        page.goto(path)
        assert "zh-CN" == page.locator("html").get_attribute("lang")
        assert english[path] != page.title(), path
        assert "" == sideways(page), path


def test_a_change_of_language_keeps_the_address_and_what_was_typed_and_who_is_lost_is_led_back(
    visitor: Visitor,
) -> None:
    # Given a page with something in its address, and fields that somebody has filled
    page = visitor("/dashboard?source=shop&from=2026-01-01", locale="zh-CN")
    page.get_by_role("link", name="English").click()
    assert "source=shop&from=2026-01-01&language=en" in page.url
    page.goto("/try")
    box = page.locator("main textarea").first
    box.fill("物流太慢了")
    # when they change the language, then the text is still there
    page.get_by_role("link", name="中文").click()
    page.locator("html[lang=zh-CN]").wait_for()
    assert "物流太慢了" == box.input_value()
    # When the address leads nowhere
    visitor.expected.add(404)  # type: ignore[attr-defined]
    page.goto("/reviews/17?x=1")
    # then it is a page like all others
    assert page.get_by_text("此地址下没有内容。").is_visible()
    page.get_by_role("link", name="回到首页").click()
    page.wait_for_url("**/try")


def test_the_keyboard_alone_leads_through_the_frame(visitor: Visitor) -> None:
    # Given a page, when somebody presses Tab
    page = visitor("/quality")
    page.keyboard.press("Tab")
    # then the first thing is the way past the frame, and it is seen
    skip = page.get_by_role("link", name="Skip to the content")
    assert skip.evaluate("one => one === document.activeElement && one.getBoundingClientRect().left >= 0")
    page.keyboard.press("Enter")
    assert "main" == page.evaluate("document.activeElement.id")
    # and after it come the pages in their order, each with a visible focus
    page.goto("/quality")
    page.keyboard.press("Tab")
    names = []
    for _ in range(8):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            "[document.activeElement.textContent.trim(), getComputedStyle(document.activeElement).outlineStyle]"
        )
        assert "solid" == outline, name
        names.append(name)
    assert ["Fenliu", "Try it", "Dashboard", "Review", "Quality", "Dead letters", "Users", "API"] == names
    # and Enter opens one
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/dead-letters")
    assert "Dead letters" == page.locator("nav [aria-current=page]").inner_text()


def test_times_are_the_readers_and_messages_are_said_and_closed(visitor: Visitor) -> None:
    # Given a reader far from Greenwich, when a time comes with a part of a page, it is shown in his zone
    page = visitor("/quality", locale="zh-CN", timezone_id="Asia/Shanghai")
    page.evaluate(
        """() => {
          const part = document.createElement("p");
          part.innerHTML = '<time datetime="2026-03-01T23:30:00+00:00">2026-03-01 23:30 UTC</time>';
          document.getElementById("main").append(part);
          htmx.process(part);
          htmx.trigger(part, "htmx:load", { elt: part });
        }"""
    )
    assert "2026/3/2 07:30" == page.locator("main p > time").last.inner_text()
    # When a script has something to say, and then an answer is an error
    page.evaluate("document.dispatchEvent(new CustomEvent('fenliu:say', {detail: {text: '已保存 <b>'}}))")
    assert page.get_by_role("status").get_by_text("已保存 <b>").is_visible()
    visitor.expected |= {403, 404}  # type: ignore[attr-defined]
    page.evaluate("document.body.setAttribute('hx-headers', '{}'); htmx.ajax('POST', '/logout', 'main')")
    error = page.locator("#messages .error")
    error.wait_for()
    # then the reason is there until it is closed
    assert "表单已过期，请刷新页面后重试。" == error.locator("span").inner_text()
    page.get_by_role("button", name="关闭").last.click()
    assert 0 == error.count()
