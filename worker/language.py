"""A cheap guess at a text's language, for the `lang` column: zh, yue, en, or nothing. No model decides by it."""

from __future__ import annotations

import re

_LOOKED_AT_CHARS = 80
_LATIN = re.compile("[A-Za-z]+")
_HAN = re.compile("[\u4e00-\u9fff\u3400-\u4dbf]+")
_KANA_OR_HANGUL = re.compile("[\u3040-\u30ff\uac00-\ud7af]")
# Characters of written Cantonese that standard written Chinese does not use.
_CANTONESE = re.compile("[嘅咗冇唔喺哋嗰啲佢嚟嘢乜咁噉揾攞瞓啱嘥靚]")
_TO_BE_WEIGHED = re.compile("[A-Za-z\u3040-\u30ff\uac00-\ud7af嘅咗冇唔喺哋嗰啲佢嚟嘢乜咁噉揾攞瞓啱嘥靚]")


def guess(text: str) -> str | None:
    """`yue` where marks of Cantonese stand (two, or one in a short text), else `zh` or `en` by share of letters."""
    text = text[:_LOOKED_AT_CHARS]
    if text.isascii():
        return "en" if _LATIN.search(text) else None
    if _TO_BE_WEIGHED.search(text) is None:  # as most Chinese is
        return "zh" if _HAN.search(text) else None
    marks = len(_CANTONESE.findall(text))
    rest = _HAN.sub("", text)
    han_chars = len(text) - len(rest)
    if han_chars == 0 or _KANA_OR_HANGUL.search(rest):
        return None
    # A Chinese character is about a word, a Latin letter about a fifth of one.
    if han_chars * 5 < sum(map(len, _LATIN.findall(rest))):
        return "en"
    return "yue" if marks >= (2 if han_chars > 20 else 1) else "zh"
