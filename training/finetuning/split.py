"""Labelled rows in two parts: to train on, and to judge by. Near-duplicates never stand on both sides.

Texts with the same first 15 characters, after cleaning, are near-duplicates, as in `training.corpora`.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from schemas.errors import SourceError
from training.cleaning import near_duplicate_key
from training.corpora import group_of
from training.data_files import Row

LEAST_TEXTS_PER_CLASS = 5
_MOST_FOLDS = 50


@dataclass(frozen=True)
class Split:
    """`way`: how the parts came about, in words. `near_duplicates`: train texts that share a group with eval texts,
    which only a given eval file can cause."""

    train: list[Row]
    eval: list[Row]
    way: str
    near_duplicates: int = 0

    def as_json(self, labels: Sequence[str]) -> dict[str, Any]:
        """For a report."""
        parts = {"train": self.train, "eval": self.eval}
        return {
            "way": self.way,
            "near_duplicates": self.near_duplicates,
            **{
                name: {"texts": len(rows), "per_class": {label: _counts(rows)[label] for label in labels}}
                for name, rows in parts.items()
            },
        }


def group(row: Row) -> str:
    """Rows of one group are near-duplicates."""
    return group_of(near_duplicate_key(row.text))


def check_classes(path: Path, rows: Sequence[Row], labels: Sequence[str]) -> None:
    """Raises SourceError if there is one class only, or a class has too few texts to learn from."""
    counts = _counts(rows)
    if len(labels) < 2:
        raise SourceError(f"{path}: has one class only ({', '.join(labels)}); a classifier needs two at least")
    few = [label for label in labels if counts[label] < LEAST_TEXTS_PER_CLASS]
    if few:
        named = ", ".join(f"{label!r} has {counts[label]}" for label in few)
        raise SourceError(
            f"{path}: too few different texts: {named}; each class needs {LEAST_TEXTS_PER_CLASS} at least. Add texts, "
            "or give these rows another label, or delete them"
        )


def divided(path: Path, rows: Sequence[Row], share: float, seed: int) -> Split:
    """Keeps about `share` of the rows apart, each class in both parts and no group in two.

    Raises SourceError if no such split exists.
    """
    labels = sorted({row.label for row in rows})
    wanted = max(2, min(_MOST_FOLDS, round(1 / share)))
    for n_folds in range(wanted, 1, -1):
        best = min(_folds(rows, n_folds, seed, len(labels)), key=lambda fold: fold[0], default=None)
        if best is not None:
            chosen = set(best[1].tolist())
            kept = [row for number, row in enumerate(rows) if number in chosen]
            rest = [row for number, row in enumerate(rows) if number not in chosen]
            way = f"1 fold of {n_folds}, stratified by class, near-duplicates (same first 15 characters) kept together"
            return Split(rest, kept, way)
    raise SourceError(
        f"{path}: cannot be split with every class on both sides: some class has near-duplicates of one text only. "
        "Add different texts to the smallest classes, or give a file with --eval"
    )


def with_eval_file(rows: Sequence[Row], eval_rows: Sequence[Row]) -> Split:
    """Train rows whose very text stands in the eval file are dropped; near-duplicates are counted."""
    known = {row.text for row in eval_rows}
    groups = {group(row) for row in eval_rows}
    train = [row for row in rows if row.text not in known]
    way = f"eval file; {len(rows) - len(train)} train texts that stand in it too were dropped"
    return Split(train, list(eval_rows), way, sum(group(row) in groups for row in train))


def halves(rows: Sequence[Row], seed: int) -> list[np.ndarray[Any, np.dtype[np.intp]]]:
    """Numbers of the rows in two halves, by group where it can be."""
    groups = [group(row) for row in rows]
    if len(set(groups)) < 2:
        return [np.arange(len(rows))[::2], np.arange(len(rows))[1::2]]
    order = sorted(set(groups))
    np.random.default_rng(seed).shuffle(order)
    first = set(order[::2])
    inside = np.array([name in first for name in groups])
    return [np.flatnonzero(inside), np.flatnonzero(~inside)]


def _folds(
    rows: Sequence[Row], n_folds: int, seed: int, n_labels: int
) -> Iterator[tuple[float, np.ndarray[Any, np.dtype[np.intp]]]]:
    """How far each usable fold is from an ideal one, and the numbers of its rows."""
    names = np.array([row.label for row in rows])
    groups = [group(row) for row in rows]
    if len(set(groups)) < n_folds or max(_counts(rows).values()) < n_folds:
        return
    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    whole = _counts(rows)
    with warnings.catch_warnings():
        # A class with fewer texts than folds is expected; folds without it are passed over below.
        warnings.simplefilter("ignore", UserWarning)
        for train, kept in splitter.split(names, names, groups):
            if len(set(names[train])) == len(set(names[kept])) == n_labels:
                found = Counter(names[kept].tolist())
                yield sum(abs(found[label] / count - 1 / n_folds) for label, count in whole.items()), kept


def _counts(rows: Sequence[Row]) -> Counter[str]:
    return Counter(row.label for row in rows)
