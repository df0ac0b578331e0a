"""The texts that static scales are made from when a user brings none: a fixed choice of those written for training.

Chinese and English comments and tickets, some joined to long texts. What is seen on them is
`training.activation_ranges`'.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from training.activation_ranges import Feed, feed
from training.written import comments, routing_sets

SHORT_TEXTS, LONG_TEXTS = 140, 20
_JOINED = 7


def general_texts() -> list[str]:
    """SHORT_TEXTS single texts and LONG_TEXTS of seven joined ones, evenly picked from all kinds."""
    written = [review.text for review in comments()] + [text for found in routing_sets() for text in found.texts]
    picked = _evenly(written, SHORT_TEXTS + LONG_TEXTS * _JOINED)
    longs = [" ".join(picked[start::LONG_TEXTS][:_JOINED]) for start in range(LONG_TEXTS)]
    return _evenly(picked, SHORT_TEXTS) + longs


def feeds(tokenizer_json: Path, texts: Sequence[str], max_tokens: int, *, pairs: bool) -> list[Feed]:
    """Texts as the graph reads them, one by one; with `pairs` each beside the next one's first words."""
    from training import agreement

    rows = agreement.rows(tokenizer_json, texts, max_tokens, pairs=pairs)
    return [feed(row.ids, row.types if pairs else None) for row in rows if len(row.ids)]


def _evenly(texts: Sequence[str], count: int) -> list[str]:
    step = max(1.0, len(texts) / count)
    return [texts[int(number * step)] for number in range(min(count, len(texts)))]
