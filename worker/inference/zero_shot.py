"""Scoring texts against labels that were named after the model was trained.

`LabelScorer` is what every way of doing so offers; `EncoderScorer` is the one-pass way: how near the text's embedding
is to a prototype of each label (Snell et al., "Prototypical Networks", 2017), centred so that a label which is near to
everything does not win. Ranking and joining windows is `worker.inference.scores`'.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from schemas.errors import ModelError
from schemas.labels import Label, LabelSet
from schemas.manifest import Manifest
from schemas.names import Stage
from worker.inference.engine import Rows
from worker.inference.scores import Array, sigmoid, softmax

EXAMPLES_WEIGHT = 0.2
"""Share of its examples in a label's prototype. Texts lie nearer to other texts than to names and descriptions: with
an even share a team that has examples takes the tickets of those that have none."""

_SLOT = re.compile(r"\{label\}|\{description\}")


@dataclass(frozen=True, slots=True, eq=False)
class PreparedLabels:
    """A label set as a model reads it. Immutable; belongs to the classifier that prepared it.

    `prototypes` [labels, H] stand for the labels; `means` [labels] is each one's mean similarity to neutral texts.
    """

    labels: LabelSet
    prototypes: Array
    means: Array


class LabelScorer(Protocol):
    """One way to score texts against labels."""

    stage: Stage

    def prepare(self, labels: LabelSet, template: str | None) -> PreparedLabels:
        """What can be worked out once per label set."""

    def probabilities(self, embeddings: Rows, labels: PreparedLabels, *, multi_label: bool) -> Array:
        """Rows [windows, H] to scores [windows, labels]."""


class EncoderScorer:
    """Similarity to label prototypes (the cosine, for a label without examples), centred, calibrated.

    `embed(texts, prefix)` gives one row of length 1 per text, [texts, H].
    """

    stage = Stage.ENCODER

    def __init__(self, manifest: Manifest, embed: Callable[[Sequence[str], str], Array], neutral: Array | None) -> None:
        self._manifest = manifest
        self._embed = embed
        self._neutral = neutral

    def prepare(self, labels: LabelSet, template: str | None) -> PreparedLabels:
        """Embeds every label and example once."""
        texts = [label_text(label, self._manifest, template) for label in labels.labels]
        prototypes = self._embed(texts, self._manifest.prefixes.label)
        for number, label in enumerate(labels.labels):
            if label.examples:
                examples = self._embed(label.examples, self._manifest.prefixes.text)
                prototypes[number] *= 1 - EXAMPLES_WEIGHT
                prototypes[number] += EXAMPLES_WEIGHT * examples.mean(axis=0)
        means = np.zeros(len(prototypes)) if self._neutral is None else (prototypes * self._neutral).sum(axis=-1)
        prototypes.setflags(write=False)
        means.setflags(write=False)
        return PreparedLabels(labels, prototypes, means)

    def probabilities(self, embeddings: Rows, labels: PreparedLabels, *, multi_label: bool) -> Array:
        """Softmax over the labels, or a sigmoid per label for `multi_label` and for a label that stands alone."""
        # Not a BLAS product: that one starts threads of its own beside the slots.
        similarities: Array = np.einsum("nh,kh->nk", embeddings.astype(np.float64), labels.prototypes)
        centred = similarities - labels.means
        temperature = self._manifest.temperature
        if multi_label or len(labels.prototypes) == 1:
            return sigmoid((centred - temperature.multi_label_bias) / temperature.multi_label)
        return softmax(centred / temperature.routing)


def label_text(label: Label, manifest: Manifest, template: str | None) -> str:
    """What stands for a label when it is encoded.

    A description goes in by the manifest's description_template; the caller's template, else (for a bare label) the
    manifest's, goes around it. Plain replacement: braces in labels and descriptions are text.
    """
    if not label.description:
        return (template or manifest.template).replace("{}", label.name)
    parts = {"{label}": label.name, "{description}": label.description}
    described = _SLOT.sub(lambda slot: parts[slot[0]], manifest.description_template)
    return template.replace("{}", described) if template else described


def normalized(vectors: Array) -> Array:
    """Vectors scaled to length 1 over the last axis; a zero vector stays one."""
    lengths = np.sqrt((vectors * vectors).sum(axis=-1, keepdims=True))
    result: Array = vectors / np.maximum(lengths, 1e-12)
    return result


def read_neutral(path: Path, width: int) -> Array:
    """Mean embedding [H] of the neutral texts kept with a model as float rows [texts, H]. Raises ModelError."""
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ModelError(f"{path}: cannot be read as an array: {error}") from error
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.shape[1] != width or not len(rows):
        raise ModelError(f"{path}: must hold rows of {width} numbers")
    mean: Array = rows.astype(np.float64).mean(axis=0)
    if not np.isfinite(mean).all():
        raise ModelError(f"{path}: holds a number that is not finite")
    return mean
