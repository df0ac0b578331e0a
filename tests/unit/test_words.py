"""Both languages say everything: no text of the pages lacks its Chinese, none is left over, placeholders agree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from dashboard.words import preferred, words_of
from schemas.names import Role
from tests.conftest import ROOT

CATALOGS = sorted((ROOT / "dashboard" / "locale" / "zh").glob("*.po"))
METHODS = [("**.py", "python"), ("templates/**.html", "jinja2.ext:babel_extract")]
KEYWORDS = {"_": None, "words": None, "later": None}


@cache
def used() -> dict[str, str]:
    """Every text in the code and the templates, with a file it stands in. `visit.words("…")` counts too."""
    found = {
        str(message): file
        for file, _, message, _, _ in extract_from_dir(ROOT / "dashboard", METHODS, keywords=KEYWORDS)
        if isinstance(message, str)
    }
    return found | dict.fromkeys((role.value for role in Role), "schemas/names.py")


def translated(path: Path) -> Iterator[tuple[str, str]]:
    with path.open("rb") as file:
        yield from ((str(message.id), str(message.string)) for message in read_po(file) if message.id)


def test_every_text_of_the_pages_has_its_chinese() -> None:
    known = {english for path in CATALOGS for english, chinese in translated(path) if chinese}
    assert {} == {text: file for text, file in used().items() if text not in known}


@pytest.mark.parametrize("path", CATALOGS, ids=lambda path: path.stem)
def test_no_translation_is_left_over_or_said_twice(path: Path) -> None:
    here = [english for english, _ in translated(path)]
    elsewhere = {english for other in CATALOGS if other != path for english, _ in translated(other)}
    assert [] == [english for english in here if english not in used()]
    assert set() == elsewhere & set(here)


@pytest.mark.parametrize("path", CATALOGS, ids=lambda path: path.stem)
def test_placeholders_are_the_same_in_both(path: Path) -> None:
    for english, chinese in translated(path):
        assert sorted(re.findall(r"%\(\w+\)s", english)) == sorted(re.findall(r"%\(\w+\)s", chinese)), english


def test_numbers_and_shares_are_written_as_the_language_does() -> None:
    chinese, english = words_of("zh"), words_of("en")
    assert ("1,234.5", "12.3%", "1.2万") == (
        chinese.number(1234.5, 1),
        chinese.percent(0.123, 1),
        chinese.compact(12_345),
    )
    assert ("1,234.5", "12%", "12.3K") == (english.number(1234.5, 1), english.percent(0.123), english.compact(12_345))


@pytest.mark.parametrize(
    ("header", "language"),
    [("zh-CN,zh;q=0.9,en;q=0.8", "zh"), ("de-DE,de;q=0.9,en;q=0.7", "en"), ("zh-TW", "zh"), ("", "en"), ("fr", "en")],
)
def test_a_browser_gets_the_language_it_asks_for(header: str, language: str) -> None:
    assert language == preferred(header)
