"""What the default model learns from: texts with a sentiment label, texts whose embedding it copies, label sets.

Only train and dev parts are handed out for training and choosing; the test part has a function of its own.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training import corpora, written
from training.joint import NO_LABEL

TEXT_PREFIX, LABEL_PREFIX = "query: ", "passage: "
"""The prefixes that the pretrained encoder was trained with."""
DESCRIBED = "{label} — {description}"


@dataclass(frozen=True)
class Example:
    """`student` is what the model being trained reads, `teacher` what the model reads whose embedding it copies.
    `repeats`: how often an epoch shows it."""

    student: str
    teacher: str
    label: int
    repeats: float = 1.0
    is_written: bool = False


@dataclass(frozen=True)
class Amounts:
    """How many unlabelled texts of each kind are drawn, and how often an epoch shows what."""

    titles: int = 2000
    snippets: int = 2000
    newspaper: int = 1000
    english: int = 2000
    passages: int = 2000
    snippet_characters: int = 70
    unlabelled_repeats: float = 0.5
    written_repeats: float = 2.0


def labelled_reviews(cache: Path, split: corpora.Split) -> list[corpora.Review]:
    """Chinese reviews and English sentences of one split."""
    english = [r for source in ("amazonReviewSnippets", "tweets") for r in corpora.english_ratings(cache, source)]
    return [review for review in corpora.reviews(cache) + english if review.split == split]


def test_reviews(cache: Path) -> list[corpora.Review]:
    """The fixed test split, for the final measurement and nothing else."""
    return [review for review in corpora.reviews(cache) if review.split == "test"]


def fine_tuning(cache: Path, amounts: Amounts, seed: int) -> list[Example]:
    """For the large model, whose embeddings stay near the pretrained original's: the student reads bare texts and
    learns what the original makes of them with its prefix."""
    rng = random.Random(seed)  # noqa: S311 - the same draw every time
    unlabelled = _unlabelled(cache, amounts, rng)
    passages = rng.sample(unlabelled, min(amounts.passages, len(unlabelled)))
    return [
        *_labelled(cache, amounts, TEXT_PREFIX),
        *(Example(text, TEXT_PREFIX + text, NO_LABEL, amounts.unlabelled_repeats) for text in unlabelled),
        *(Example(LABEL_PREFIX + text, LABEL_PREFIX + text, NO_LABEL, amounts.unlabelled_repeats) for text in passages),
    ]


def distillation(cache: Path, amounts: Amounts, seed: int) -> list[Example]:
    """For the small model, which copies the large one: the same texts and more, and all wordings of the labels."""
    rng = random.Random(seed)  # noqa: S311 - the same draw every time
    unlabelled = _unlabelled(cache, amounts, rng)
    labels = [text for one in written.routing_sets() for wording in wordings(one) for text in wording]
    tickets = [text for one in written.routing_sets() for text in one.texts]
    return [
        *_labelled(cache, amounts, ""),
        *(Example(text, text, NO_LABEL, amounts.unlabelled_repeats) for text in unlabelled),
        *(Example(text, text, NO_LABEL) for text in dict.fromkeys([*labels, *tickets])),
    ]


def wordings(one: written.WrittenSet) -> list[list[str]]:
    """The labels of a set in the wordings that training draws from; the one that routing uses comes most often."""
    labels = one.labels.labels
    names = [label.name for label in labels]
    if not all(label.description for label in labels):
        return [names]
    described = [DESCRIBED.replace("{label}", x.name).replace("{description}", x.description) for x in labels]
    return [described, described, described, [label.description for label in labels], names]


def _labelled(cache: Path, amounts: Amounts, prefix: str) -> list[Example]:
    reviews = [Example(r.text, prefix + r.text, r.label) for r in labelled_reviews(cache, "train")]
    comments = [
        Example(r.text, prefix + r.text, r.label, amounts.written_repeats, is_written=True) for r in written.comments()
    ]
    return reviews + comments


def _unlabelled(cache: Path, amounts: Amounts, rng: random.Random) -> list[str]:
    articles = [article for article in corpora.articles(cache) if article.split == "train"]
    titles = list(dict.fromkeys(article.title for article in articles if len(article.title) >= 4))
    snippets = [
        piece for article in articles for piece in corpora.snippets(article.body, amounts.snippet_characters)[:8]
    ]
    newspaper = [line[:100] for line in corpora.newspaper_sentences(cache) if len(line) >= 8]
    english = [text for text in corpora.english_sentences(cache) if corpora.split_of(text) == "train"]
    pools: Sequence[tuple[list[str], int]] = (
        (titles, amounts.titles),
        (snippets, amounts.snippets),
        (newspaper, amounts.newspaper),
        (english, amounts.english),
    )
    return list(dict.fromkeys(text for pool, amount in pools for text in rng.sample(pool, min(amount, len(pool)))))
