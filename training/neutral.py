"""The neutral texts that centre label similarities: a fixed, varied sample of train texts kept with the model."""

from __future__ import annotations

import random
from pathlib import Path

from training import corpora

QUESTION_MARKS = ("？", "?", "怎么", "如何", "请问", "为什么", "哪里", "多少")
MAX_CHARACTERS = 80


def neutral_texts(cache: Path, seed: int) -> list[str]:
    """About 400 short texts: reviews, headlines, questions, newspaper sentences, English sentences."""
    rng = random.Random(seed)  # noqa: S311 - the same draw every time
    titles = [article.title for article in corpora.articles(cache) if article.split == "train"]
    pools: list[tuple[list[str], int]] = [
        ([review.text for review in corpora.reviews(cache) if review.split == "train"], 110),
        (titles, 70),
        ([title for title in titles if any(mark in title for mark in QUESTION_MARKS)], 80),
        (corpora.newspaper_sentences(cache), 60),
        ([text for text in corpora.english_sentences(cache) if corpora.split_of(text) == "train"], 80),
    ]
    chosen: dict[str, None] = {}
    for pool, amount in pools:
        usable = [text for text in pool if 8 <= len(text) <= MAX_CHARACTERS and text.isprintable()]
        chosen.update(dict.fromkeys(rng.sample(usable, amount)))
    return list(chosen)
