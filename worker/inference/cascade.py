"""Two models to score labels: an encoder picks the few best, a pair model decides among them.

So the cost of a text stays flat in the number of labels, as the encoder's, while the pair model has the last word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from schemas.labels import LabelSet
from schemas.names import Stage
from worker.inference.batch import TextBatch
from worker.inference.encoder import EncoderLabels, EncoderScorer
from worker.inference.pair import Chosen, PairLabels, PairScorer
from worker.inference.scores import Array, Scores, descending, ranked
from worker.inference.zero_shot import PreparedLabels


@dataclass(frozen=True, slots=True, eq=False)
class CascadeLabels(PreparedLabels):
    """The labels as both models read them; no `encoder` where there is nothing to pick from."""

    encoder: EncoderLabels | None
    pair: PairLabels


class CascadeScorer:
    """`keep_labels`: how many labels the encoder leaves to the pair model."""

    def __init__(self, encoder: EncoderScorer, pair: PairScorer, keep_labels: int) -> None:
        self._encoder = encoder
        self._pair = pair
        self._keep_labels = keep_labels

    def prepare(self, labels: LabelSet, template: str | None) -> CascadeLabels:
        """The labels for both models. Raises LabelsError for a hypothesis that is too long."""
        pair = self._pair.prepare(labels, template)
        few = len(labels.labels) <= self._keep_labels
        return CascadeLabels(labels, None if few else self._encoder.prepare(labels, template), pair)

    def scores(
        self, batch: TextBatch, which: Sequence[int], labels: CascadeLabels, *, multi_label: bool
    ) -> list[Scores]:
        """Scores of the texts `which`; see `LabelScorer`. All labels are the pair model's if there are but a few."""
        if labels.encoder is None:
            return self._pair.scores(batch, which, labels.pair, multi_label=multi_label)
        first = self._encoder.probabilities(batch, which, labels.encoder, multi_label=multi_label)
        # In the order the labels were given, which is what decides between equal scores.
        chosen = [np.sort(descending(values)[: self._keep_labels]) for values in first]
        second = self._pair.probabilities(batch, which, labels.pair, chosen, multi_label=multi_label)
        found = []
        for values, own, decided in zip(first, chosen, second, strict=True):
            both = merged(values, own, decided, multi_label=multi_label)
            stage = Stage.PAIR if descending(both)[0] in own else Stage.ENCODER
            found.append(ranked(labels.labels.names, both, stage))
        return found


def merged(values: Array, chosen: Chosen, decided: Array, *, multi_label: bool) -> Array:
    """The encoder's probabilities `values` [labels], with what the pair model says of the labels `chosen` in them.

    One label is right: the chosen ones share among them, as the pair model divides it, the probability that the encoder
    gave to them together; all still sum to 1. The best of them is at least the mean of the chosen ones, so no label
    that was left out overtakes it: the pair model decides. In multi_label every score stands by itself, and the best
    one may be the encoder's.
    """
    result = values.copy()
    result[chosen] = decided if multi_label else decided * values[chosen].sum()
    return result
