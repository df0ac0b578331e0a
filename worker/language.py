"""A cheap guess at a text's language, for the `lang` column: zh, yue, en, or nothing. No model decides by it."""

from __future__ import annotations

import re

_LOOKED_AT_CHARS = 400
_HAN = re.compile("[\u4e00-\u9fff\u3400-\u4dbf]+")
_LATIN = re.compile("[A-Za-z]+")
_KANA_OR_HANGUL = re.compile("[\u3040-\u30ff\uac00-\ud7af]")
# Characters of written Cantonese that standard written Chinese does not use.
_CANTONESE = re.compile("[嘅咗冇唔喺哋嗰啲佢嚟嘢乜咁噉揾攞瞓啱嘥靚]")


def guess(text: str) -> str | None:
    """`yue` if two marks of Cantonese stand in it (one in a short text), else `zh` or `en` by share of letters."""
    text = text[:_LOOKED_AT_CHARS]
    han = sum(map(len, _HAN.findall(text)))
    latin = sum(map(len, _LATIN.findall(text)))
    if (han == 0 and latin == 0) or _KANA_OR_HANGUL.search(text):
        return None
    # A Chinese character is about a word, a Latin letter about a fifth of one.
    if han * 5 < latin:
        return "en"
    return "yue" if len(_CANTONESE.findall(text)) >= (2 if han > 20 else 1) else "zh"
