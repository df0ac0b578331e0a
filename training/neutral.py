"""The neutral texts that centre label similarities: a fixed, varied sample of train texts kept with the model."""

from __future__ import annotations

import random
import re
from pathlib import Path

from training import corpora

QUESTION_MARKS = ("？", "?", "怎么", "如何", "请问", "为什么", "哪里", "多少")
MAX_CHARACTERS = 80
UNWANTED = re.compile(
    "[杀死亡血弑奸毒嫖娼诉判贪骗赌彩罪犯尸伤警案刑枪爆裸色性淫妓砍殴虐葬癌]|纠纷|法院|法律|律师|裁定|代理|男子|女子|小妹|小姐"
    "|服务\\(|一晚|娱乐城|黄页|高仿|治疗|医院|按摩|美容|县|[A-Za-z0-9]{10}|http|(?i:damn|fuck|shit|bitch|sex|kill|hate)"
)
"""Crimes, private persons' lawsuits, advertisements and swearing: nothing to ship with a model."""


def neutral_texts(cache: Path, seed: int) -> list[str]:
    """About 380 short texts: headlines that ask something, questions in reviews, newspaper and English sentences.

    Questions because they are nearest to what is routed: such a centre was the best on the routing dev sets.
    """
    rng = random.Random(seed)  # noqa: S311 - the same draw every time
    reviews = [review.text for review in corpora.reviews(cache) if review.split == "train"]
    headlines = [article.title for article in corpora.articles(cache) if article.split == "train"]
    english = [text for text in corpora.english_sentences(cache) if corpora.split_of(text) == "train"]
    pools: list[tuple[list[str], int]] = [
        ([text for text in headlines if asks(text) and not UNWANTED.search(text)], 150),
        ([text for text in reviews if asks(text)], 70),
        (corpora.newspaper_sentences(cache), 70),
        ([text for text in english if not UNWANTED.search(text)], 90),
    ]
    chosen: dict[str, None] = {}
    for pool, amount in pools:
        usable = [text for text in pool if 8 <= len(text) <= MAX_CHARACTERS and text.isprintable()]
        chosen.update(dict.fromkeys(rng.sample(usable, amount)))
    return list(chosen)


def asks(text: str) -> bool:
    """True if the text looks like a question."""
    return any(mark in text for mark in QUESTION_MARKS)
