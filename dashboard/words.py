"""The pages' words in English and Chinese: English stands in the code, Chinese in `locale/zh/*.po`.

One file per page, merged when first needed. A test holds that nothing lacks its translation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

from babel import Locale
from babel.dates import format_datetime
from babel.messages.pofile import read_po
from babel.numbers import format_compact_decimal, format_decimal, format_percent

LANGUAGES = {"zh": "中文", "en": "English"}
DEFAULT_LANGUAGE = "en"
_LOCALES = {"zh": "zh_Hans_CN", "en": "en"}
_HERE = Path(__file__).with_name("locale")


@dataclass(frozen=True, slots=True)
class Words:
    """What the pages say in one language. Called with English, it gives the text in that language."""

    language: str
    catalog: Mapping[str, str]

    def __call__(self, english: str, /, **values: object) -> str:
        """The text; `%(name)s` in it is replaced by the value of that name."""
        text = self.catalog.get(english, english)
        return text % values if values else text

    @property
    def locale(self) -> Locale:
        """For dates and numbers."""
        return Locale.parse(_LOCALES[self.language])

    def number(self, value: float, digits: int = 0) -> str:
        """A number with `digits` decimals at most."""
        return format_decimal(round(value, digits), locale=self.locale)

    def compact(self, value: float) -> str:
        """A large number in a few characters, such as 1.2K or 1.2万."""
        return format_compact_decimal(value, locale=self.locale, fraction_digits=1)

    def percent(self, share: float, digits: int = 0) -> str:
        """A share from 0 to 1 as a percentage."""
        return format_percent(round(share, digits + 2), locale=self.locale, decimal_quantization=False)

    def moment(self, at: datetime) -> str:
        """A time in UTC, for browsers that run no script; others show it in their own zone."""
        return format_datetime(at, "yyyy-MM-dd HH:mm 'UTC'", locale=self.locale)


def later(english: str) -> str:
    """Mark a text in a constant, which is translated when it is shown."""
    return english


@cache
def words_of(language: str) -> Words:
    """The words of one of LANGUAGES."""
    return Words(language, {} if language == DEFAULT_LANGUAGE else _catalog(language))


def preferred(accept_language: str) -> str:
    """The language that a browser would rather have, by its Accept-Language header."""
    for choice in accept_language.split(","):
        language = choice.partition(";")[0].strip().lower().partition("-")[0]
        if language in LANGUAGES:
            return language
    return DEFAULT_LANGUAGE


def _catalog(language: str) -> dict[str, str]:
    merged: dict[str, str] = {}
    for path in sorted((_HERE / language).glob("*.po")):
        with path.open("rb") as file:
            messages = read_po(file)
        merged |= {str(message.id): str(message.string) for message in messages if message.id and message.string}
    return merged
