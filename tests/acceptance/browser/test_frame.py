"""What all pages share: the way around, two languages, a narrow screen, and nothing from elsewhere."""

from __future__ import annotations

import pytest

from tests.acceptance.browser.conftest import Visitor

PAGES = ("/try", "/dashboard", "/review", "/quality", "/dead-letters", "/login")


@pytest.mark.parametrize("path", PAGES)
def test_a_page_opens_in_both_languages_on_an_empty_database(visitor: Visitor, path: str) -> None:
    # Given nothing in the database, when somebody opens a page
    page = visitor(path)
    english = page.locator("h1").first.inner_text()
    # and changes the language
    page.get_by_role("link", name="中文").click()
    # then it says the same in Chinese, and stays so
    assert "zh-CN" == page.locator("html").get_attribute("lang")
    assert english != page.locator("h1").first.inner_text()
    page.goto("/try")
    assert "zh-CN" == page.locator("html").get_attribute("lang")


@pytest.mark.parametrize("path", PAGES)
def test_a_narrow_screen_needs_no_sideways_scrolling(visitor: Visitor, path: str) -> None:
    page = visitor(path, width=360, height=740)
    assert 360 >= page.evaluate("document.documentElement.scrollWidth")
