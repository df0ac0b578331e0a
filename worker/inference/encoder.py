"""The one-pass way to score labels: how near a text's embedding is to a prototype of each label.

Prototypes after Snell et al., "Prototypical Networks" (2017), centred so that a label which is near to everything does
not win. A text that nearly copies an example of a label gets that label, after Zhang et al., "Tip-Adapter" (2022). The
text passes the model once, however many labels there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError

import numpy as np

from schemas.errors import ModelError
from schemas.labels import LabelSet
from schemas.names import Stage
from worker.inference.batch import TextBatch
from worker.inference.engine import EMBEDDING, Rows
from worker.inference.model import Model
from worker.inference.scores import Array, Scores, joined, ranked, sigmoid, softmax
from worker.inference.zero_shot import PreparedLabels, label_text

EXAMPLES_WEIGHT = 0.2
"""Share of its examples in a label's prototype. Texts lie nearer to other texts than to names and descriptions: with
an even share a team that has examples takes the tickets of those that have none."""

COPY_WEIGHT = 0.7
"""What a text adds to the similarity of a label that has the very text as an example."""
COPY_SHARPNESS = 50.0
"""How fast that ends as the cosine falls: half of it is left at 0.986, a tenth at 0.954. Texts of one topic alone lie
between 0.8 and 0.95, so only near-copies count, and a team with many examples takes no tickets from the others."""

_NO_ARRAY = (OSError, ValueError, EOFError, TypeError, OverflowError, MemoryError, RecursionError, TokenError)
"""What NumPy raises for a file that is no array: its header is a Python literal, read by Python's own parser."""


@dataclass(frozen=True, slots=True, eq=False)
class EncoderLabels(PreparedLabels):
    """`prototypes` [labels, H] stand for the labels; `means` [labels]: each one's mean similarity to neutral texts.

    `examples` [examples, H]: those of all labels, one label after the other; `exemplified`: the labels that have any,
    and `starts` the first example of each of these.
    """

    prototypes: Array
    means: Array
    examples: Array
    exemplified: list[int]
    starts: list[int]


class EncoderScorer:
    """Similarity to label prototypes (the cosine, for a label without examples), centred, calibrated."""

    def __init__(self, model: Model, neutral: Array | None) -> None:
        """`neutral` [H]: the mean embedding of neutral texts; None: no centring."""
        self._model = model
        self._neutral = neutral

    def prepare(self, labels: LabelSet, template: str | None) -> EncoderLabels:
        """Embeds every label and example once."""
        manifest = self._model.manifest
        texts = [label_text(label, manifest, template) for label in labels.labels]
        prototypes = self._model.embed(texts, manifest.prefixes.label)
        examples: list[Array] = []
        exemplified = [number for number, label in enumerate(labels.labels) if label.examples]
        for number in exemplified:
            of_label = self._model.embed(labels.labels[number].examples, manifest.prefixes.text)
            prototypes[number] *= 1 - EXAMPLES_WEIGHT
            prototypes[number] += EXAMPLES_WEIGHT * of_label.mean(axis=0)
            examples.append(of_label)
        starts = [sum(map(len, examples[:before])) for before in range(len(examples))]
        means = np.zeros(len(prototypes)) if self._neutral is None else (prototypes * self._neutral).sum(axis=-1)
        prototypes.setflags(write=False)
        means.setflags(write=False)
        together = np.concatenate(examples) if examples else np.zeros((0, prototypes.shape[1]))
        together.setflags(write=False)
        return EncoderLabels(labels, prototypes, means, together, exemplified, starts)

    def scores(
        self, batch: TextBatch, which: Sequence[int], labels: EncoderLabels, *, multi_label: bool
    ) -> list[Scores]:
        """Scores of the texts `which`; see `LabelScorer`."""
        values = self.probabilities(batch, which, labels, multi_label=multi_label)
        return [ranked(labels.labels.names, row, Stage.ENCODER) for row in values]

    def probabilities(
        self, batch: TextBatch, which: Sequence[int], labels: EncoderLabels, *, multi_label: bool
    ) -> list[Array]:
        """For each of the texts `which` the probabilities [labels], over all its windows."""
        done = batch.passed(self._model)
        wanted = [np.arange(done.cuts[number].start, done.cuts[number].end) for number in which]
        embeddings = done.rows[EMBEDDING][np.concatenate(wanted)]
        values = self.window_probabilities(embeddings, labels, multi_label=multi_label)
        found = []
        at = 0
        for number in which:
            cut = done.cuts[number]
            rows = values[at : at + len(cut.weights)]
            batch.vote(
                number, Stage.ENCODER, self._model, room_tokens=cut.weights[0], names=labels.labels.names, rows=rows
            )
            found.append(joined(rows, cut.weights))
            at += len(cut.weights)
        return found

    def window_probabilities(self, embeddings: Rows, labels: EncoderLabels, *, multi_label: bool) -> Array:
        """Rows [windows, H] to [windows, labels]: softmax over the labels, or a sigmoid for each by itself."""
        # Not a BLAS product: that one starts threads of its own beside the slots.
        wide = embeddings.astype(np.float64)
        similarities: Array = np.einsum("nh,kh->nk", wide, labels.prototypes)
        centred = similarities - labels.means
        if labels.exemplified:
            to_examples = np.einsum("nh,eh->ne", wide, labels.examples)
            nearest = np.maximum.reduceat(to_examples, labels.starts, axis=1)
            centred[:, labels.exemplified] += COPY_WEIGHT * np.exp(COPY_SHARPNESS * np.minimum(nearest - 1, 0))
        temperature = self._model.manifest.temperature
        if multi_label or len(labels.prototypes) == 1:
            return sigmoid((centred - temperature.multi_label_bias) / temperature.multi_label)
        return softmax(centred / temperature.routing)


def read_neutral(path: Path, width: int) -> Array:
    """Mean embedding [H] of the neutral texts kept with a model as float rows [texts, H]. Raises ModelError."""
    try:
        # Mapped, since then what the header claims has to be there before any memory is taken for it.
        rows = np.lib.format.open_memmap(path, mode="r")
    except _NO_ARRAY as error:
        raise ModelError(f"{path}: cannot be read as an array: {error}") from error
    if rows.dtype.kind != "f" or rows.ndim != 2 or rows.shape[1] != width or not len(rows):
        raise ModelError(f"{path}: must hold rows of {width} numbers, not {rows.dtype} {rows.shape}")
    with np.errstate(over="ignore", invalid="ignore"):
        mean: Array = rows.astype(np.float64).mean(axis=0)
    if not np.isfinite(mean).all():
        raise ModelError(f"{path}: holds a number that is not finite")
    return mean
