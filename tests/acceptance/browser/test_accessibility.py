"""Pages can be used by everybody: axe-core finds nothing serious on any, in light and dark, wide and narrow.

Pages with something in them are checked where their stories end: see the fixture `visitor`.
"""

from __future__ import annotations

from tests.acceptance.browser.axe import violations
from tests.acceptance.browser.conftest import Visitor
from tests.acceptance.browser.test_frame import PAGES


def test_no_page_shuts_anybody_out(visitor: Visitor) -> None:
    visitor.expected.add(404)  # type: ignore[attr-defined]
    page = visitor("/quality", reduced_motion="reduce")
    # Given a page with a field that has no label and a text that is hardly there, both are seen
    page.evaluate(
        """() => document.getElementById("main").insertAdjacentHTML(
          "beforeend", '<input id="nameless"><p style="color: #bbb; background: #fff">pale</p>')"""
    )
    assert {"label", "color-contrast"} == {line.partition(":")[0] for line in violations(page)}
    # when all pages are looked at, nothing is
    wrong: dict[str, list[str]] = {}
    for scheme, locale, width in (("light", "zh-CN", 1280), ("dark", "en-GB", 360)):
        page.context.close()
        page = visitor("/try", locale=locale, width=width, color_scheme=scheme, reduced_motion="reduce")
        for path in (*PAGES, "/nothing-here"):
            page.goto(path)
            if found := violations(page):
                wrong[f"{path} {scheme}"] = found
    assert {} == wrong
