"""A cheap guess at a text's language, for the `lang` column: zh, yue, en, or nothing. No model decides by it."""

from __future__ import annotations

import re

_LOOKED_AT_CHARS = 80
_NOT_LETTERS = bytes(code for code in range(128) if not chr(code).isalpha())
_HAN = re.compile("[\u4e00-\u9fff\u3400-\u4dbf]+")
_KANA_AND_HANGUL = "\u3040-\u30ff\uac00-\ud7af"
_MARKS_OF_CANTONESE = "嘅咗冇唔喺哋嗰啲佢嚟嘢乜咁噉揾攞瞓啱嘥靚"  # standard written Chinese does not use them
_KANA_OR_HANGUL = re.compile(f"[{_KANA_AND_HANGUL}]")
_CANTONESE = re.compile(f"[{_MARKS_OF_CANTONESE}]")
_NOT_MANDARIN = re.compile(f"[{_KANA_AND_HANGUL}{_MARKS_OF_CANTONESE}]")
_LETTERS_PER_HAN = 5  # a Chinese character is about a word, a Latin letter about a fifth of one


def guess(text: str) -> str | None:
    """`yue` where marks of Cantonese stand (two, or one in a short text), else `zh` or `en` by share of letters."""
    text = text[:_LOOKED_AT_CHARS]
    letters = len(text.encode("ascii", "ignore").translate(None, _NOT_LETTERS))
    if text.isascii():
        return "en" if letters else None
    first_han = _HAN.search(text)
    if first_han is None:
        return None
    if _NOT_MANDARIN.search(text) is None and len(first_han[0]) * _LETTERS_PER_HAN >= letters:  # as most Chinese is
        return "zh"
    if _KANA_OR_HANGUL.search(text):
        return None
    han_chars = sum(map(len, _HAN.findall(text)))
    if han_chars * _LETTERS_PER_HAN < letters:
        return "en"
    marks = len(_CANTONESE.findall(text))
    return "yue" if marks >= (2 if han_chars > 20 else 1) else "zh"
