"""Pages can be used by everybody: axe-core finds nothing serious, in light and dark, wide and narrow.

What it checks stands in its documentation; it is a package of others, kept under vendor/ for tests alone.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.browser.conftest import Visitor
from tests.acceptance.browser.test_frame import PAGES

AXE = gzip.decompress((Path(__file__).parent / "vendor" / "axe.min.js.gz").read_bytes()).decode()


def violations(page: Any) -> list[str]:
    """What is serious or critical: the rule, why, and where."""
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{rule['id']}: {rule['help']}: {node['html'][:160]} ({node['failureSummary'].splitlines()[-1].strip()})"
        for rule in found["violations"]
        if rule["impact"] in {"serious", "critical"}
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize(("scheme", "locale", "width"), [("light", "zh-CN", 1280), ("dark", "en-GB", 360)])
def test_no_page_shuts_anybody_out(visitor: Visitor, scheme: str, locale: str, width: int) -> None:
    visitor.expected.add(404)  # type: ignore[attr-defined]
    page = visitor("/try", locale=locale, width=width, color_scheme=scheme, reduced_motion="reduce")
    wrong: dict[str, list[str]] = {}
    for path in (*PAGES, "/nothing-here"):
        page.goto(path)
        if found := violations(page):
            wrong[path] = found
    assert {} == wrong


def test_the_check_sees_what_it_should(visitor: Visitor) -> None:
    # Given a page with a field that has no label and a text that is hardly there
    page = visitor("/quality")
    page.evaluate(
        """() => document.getElementById("main").insertAdjacentHTML(
          "beforeend", '<input id="nameless"><p style="color: #bbb; background: #fff">pale</p>')"""
    )
    assert {"label", "color-contrast"} == {line.partition(":")[0] for line in violations(page)}
