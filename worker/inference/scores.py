"""Scores of one text for one task, and the arithmetic they are made with, in float64.

Which rows of a model's output go in is `worker.inference.sentiment`'s and that of the ways to score labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from schemas.names import Stage

Array = npt.NDArray[np.float64]


VOTE_LABELS = 10
"""Labels kept of each window's vote: a long text has many windows, and a label set up to 500 labels."""


@dataclass(frozen=True, slots=True)
class Vote:
    """What one window of a long text says by itself: the window's characters, and its best labels, best first."""

    start: int
    end: int
    scores: dict[str, float]


@dataclass(frozen=True, slots=True)
class Scores:
    """`scores` is in descending order; of equal ones the label that was given last stands first, as in ModelScope.

    `votes`: of each window, where they were asked for and the text has more than one.
    """

    label: str
    score: float
    scores: dict[str, float]
    stage: Stage
    votes: tuple[Vote, ...] = ()


def softmax(values: Array) -> Array:
    """Over the last axis."""
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    result: Array = powers / powers.sum(axis=-1, keepdims=True)
    return result


def sigmoid(values: Array) -> Array:
    """1 / (1 + e^-x), without overflow for large negative x."""
    small = np.exp(-np.abs(values))
    result: Array = np.where(values >= 0, 1.0, small) / (1.0 + small)
    return result


def joined(rows: Array, weights: Sequence[int]) -> Array:
    """The windows' scores [windows, labels] as one: their mean, weighted by tokens."""
    if len(rows) == 1:
        row: Array = rows[0]
        return row
    shares = np.asarray(weights, dtype=np.float64)
    mean: Array = (rows * shares[:, np.newaxis]).sum(axis=0) / shares.sum()
    return mean


def descending(values: Array) -> npt.NDArray[np.intp]:
    """Where the greatest value stands, the next one and so on; of equal ones the last stands first."""
    order: npt.NDArray[np.intp] = np.argsort(values, kind="stable")[::-1]
    return order


def ranked(names: Sequence[str], values: Array, stage: Stage) -> Scores:
    """Scores of the labels `names`, whose values are `values` [labels]."""
    order = descending(values).tolist()
    floats = values.tolist()
    scores = {names[number]: floats[number] for number in order}
    return Scores(names[order[0]], floats[order[0]], scores, stage)


def normalized(vectors: Array) -> Array:
    """Vectors scaled to length 1 over the last axis; a zero vector stays one."""
    lengths = np.sqrt((vectors * vectors).sum(axis=-1, keepdims=True))
    result: Array = vectors / np.maximum(lengths, 1e-12)
    return result
