"""The pages as people meet them: `fenliu serve` in a real Chromium, which may log no error and ask no other host."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.acceptance.browser.axe import violations

sync_api = pytest.importorskip("playwright.sync_api")

_BROWSERS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
Visitor = Callable[..., Any]


@pytest.fixture(scope="package")
def chromium() -> Iterator[Any]:
    """A running Chromium. Without one: a failure in CI, a skip elsewhere.

    No longer than for these tests: while Playwright runs, no other test can use asyncio.run.
    """
    found = next((path for name in _BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        assert not os.environ.get("CI"), "no Chromium: apt-get install chromium"
        pytest.skip("no Chromium on PATH")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@pytest.fixture
def visitor(chromium: Any, address: str) -> Iterator[Visitor]:
    """Open a page for somebody new: `page = visitor("/try", locale="zh-CN", width=1280)`.

    At the end no page may have logged an error, failed in a script, asked another host for anything, or show something
    that shuts people out. A test that causes an answer of 400 or more on purpose says so: `visitor.expected.add(422)`.
    """
    contexts: list[Any] = []
    wrong: list[str] = []
    expected: set[int] = set()

    def note(message: Any) -> None:
        codes = re.findall(r"(?:status of|Status Error Code) (\d{3})", message.text)
        if message.type in {"error", "warning"} and not (codes and int(codes[0]) in expected):
            wrong.append(f"{message.type}: {message.text}")

    def visit(path: str, *, locale: str = "en-GB", width: int = 1280, height: int = 900, **options: Any) -> Any:
        context = chromium.new_context(
            base_url=address, locale=locale, viewport={"width": width, "height": height}, **options
        )
        context.set_default_timeout(15_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", note)
        page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
        host = urlsplit(address).netloc
        page.on(
            "request", lambda request: None if urlsplit(request.url).netloc in {host, ""} else wrong.append(request.url)
        )
        page.goto(path)
        return page

    visit.expected = expected  # type: ignore[attr-defined]
    yield visit
    for context in contexts:
        wrong += [line for page in context.pages if page.url.startswith(address) for line in violations(page)]
        context.close()
    assert [] == wrong
