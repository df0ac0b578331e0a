"""What the default model learns from: texts with a sentiment label, and texts whose embedding it must keep.

Only train and dev parts are handed out for training and choosing; the test part has a function of its own.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from training import corpora

NO_LABEL = -100
TEXT_PREFIX, LABEL_PREFIX = "query: ", "passage: "
"""The prefixes that the pretrained encoder was trained with."""


@dataclass(frozen=True)
class Example:
    """`student` is what the model being trained reads, `teacher` what the frozen original reads."""

    student: str
    teacher: str
    label: int


@dataclass(frozen=True)
class Amounts:
    """How many unlabelled texts of each kind are drawn."""

    titles: int = 2000
    snippets: int = 2000
    newspaper: int = 1000
    english: int = 2000
    passages: int = 2000
    snippet_characters: int = 70


def text_example(text: str, label: int) -> Example:
    """The student reads the bare text, and learns what the original makes of it with its prefix."""
    return Example(text, TEXT_PREFIX + text, label)


def passage_example(text: str) -> Example:
    """A text as the original reads documents."""
    return Example(LABEL_PREFIX + text, LABEL_PREFIX + text, NO_LABEL)


def labelled_reviews(cache: Path, split: corpora.Split) -> list[corpora.Review]:
    """Chinese reviews and English sentences of one split."""
    english = [r for source in ("amazonReviewSnippets", "tweets") for r in corpora.english_ratings(cache, source)]
    return [review for review in corpora.reviews(cache) + english if review.split == split]


def test_reviews(cache: Path) -> list[corpora.Review]:
    """The fixed test split, for the final measurement and nothing else."""
    return [review for review in corpora.reviews(cache) if review.split == "test"]


def training_examples(cache: Path, amounts: Amounts, seed: int) -> list[Example]:
    """Labelled train texts, then unlabelled ones, in a fixed order."""
    rng = random.Random(seed)  # noqa: S311 - the same draw every time
    labelled = [text_example(review.text, review.label) for review in labelled_reviews(cache, "train")]
    train_articles = [article for article in corpora.articles(cache) if article.split == "train"]
    titles = list(dict.fromkeys(article.title for article in train_articles if len(article.title) >= 4))
    snippets = [
        piece for article in train_articles for piece in corpora.snippets(article.body, amounts.snippet_characters)[:8]
    ]
    newspaper = [line[:100] for line in corpora.newspaper_sentences(cache) if len(line) >= 8]
    english = [text for text in corpora.english_sentences(cache) if corpora.split_of(text) == "train"]
    unlabelled = [
        text
        for pool, amount in (
            (titles, amounts.titles),
            (snippets, amounts.snippets),
            (newspaper, amounts.newspaper),
            (english, amounts.english),
        )
        for text in rng.sample(pool, min(amount, len(pool)))
    ]
    passages = rng.sample(titles + snippets + english, amounts.passages)
    return (
        labelled + [text_example(text, NO_LABEL) for text in unlabelled] + [passage_example(text) for text in passages]
    )
