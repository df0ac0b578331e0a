"""The words and marks of a condition, and errors that show their place. Grammar is `schemas.condition_text`'s."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from schemas.conditions import NAME
from schemas.errors import ConditionError

_TOKEN = re.compile(
    rf"""
    (?P<string> "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*')
    | (?P<number> -?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
    | (?P<word> {NAME})
    | (?P<mark> == | != | <= | >= | [<>()\[\],.])
    """,
    re.VERBOSE | re.DOTALL,
)
_BLANK = re.compile(r"\s*")
_HINTS = {
    "=": "write == to compare",
    "&": "write and",
    "|": "write or",
    "!": "write not, or != to compare",
    "“": 'use straight quotes: "…"',
    "”": 'use straight quotes: "…"',
    "‘": "use straight quotes: '…'",
    "’": "use straight quotes: '…'",
    '"': 'the text has no end; close it with "',
    "'": "the text has no end; close it with '",
    "（": "write ( instead",
    "）": "write ) instead",
    "，": "write , instead",
    "-": 'write a key with other characters as meta["my-key"]',
}
_SHOWN_CHARS = 60


@dataclass(frozen=True, slots=True)
class Token:
    """`kind`: string, number, word, mark, or end. `at`: where it begins, in characters."""

    kind: str
    text: str
    at: int


def tokens(text: str) -> list[Token]:
    """All of `text`, and one more for its end. Raises ConditionError for what is no token."""
    found_tokens = []
    at = _blank_end(text, 0)
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise misread(text, at, f"{text[at]!r} has no meaning here" + _hint(text[at]))
        found_tokens.append(Token(str(found.lastgroup), found[0], at))
        at = _blank_end(text, found.end())
    return [*found_tokens, Token("end", "the end", len(text.rstrip()))]


def _blank_end(text: str, at: int) -> int:
    blank = _BLANK.match(text, at)
    return blank.end() if blank else at


def _hint(character: str) -> str:
    return f"; {_HINTS[character]}" if character in _HINTS else ""


def misread(text: str, at: int, message: str) -> ConditionError:
    """An error that says the message, the line that holds the place, and a caret under the place."""
    begin = text.rfind("\n", 0, at) + 1
    end = text.find("\n", at) if "\n" in text[at:] else len(text)
    begin, end = max(begin, at - _SHOWN_CHARS), min(end, at + _SHOWN_CHARS)
    before = text[begin:at].replace("\t", " ")
    columns = sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in before)
    return ConditionError(f"{message}\n  {before}{text[at:end]}\n  {' ' * columns}^")
