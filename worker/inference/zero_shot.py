"""Scoring texts against labels that were named after the model was trained: what every way of doing so offers.

The ways are `worker.inference.encoder`, `worker.inference.pair` and `worker.inference.cascade`; ranking and joining
windows is `worker.inference.scores`'.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from schemas.labels import Label, LabelSet
from schemas.manifest import Manifest
from worker.inference.batch import TextBatch
from worker.inference.scores import Scores

_SLOT = re.compile(r"\{label\}|\{description\}")


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class PreparedLabels:
    """A label set as a model reads it; each way adds what it needs. Immutable; belongs to the scorer that made it."""

    labels: LabelSet


Prepared = TypeVar("Prepared", bound=PreparedLabels)


class LabelScorer(Protocol[Prepared]):
    """One way to score texts against labels."""

    def prepare(self, labels: LabelSet, template: str | None) -> Prepared:
        """What can be worked out once per label set. Raises LabelsError for labels that the model cannot read."""

    def scores(self, batch: TextBatch, which: Sequence[int], labels: Prepared, *, multi_label: bool) -> list[Scores]:
        """Scores of the texts `which` of a batch, in that order. Raises InferenceError.

        One of the labels is right unless `multi_label`; a label that stands alone is scored as in multi_label.
        """


def label_text(label: Label, manifest: Manifest, template: str | None) -> str:
    """What stands for a label when it is encoded or paired.

    A description goes in by the manifest's description_template; the caller's template, else (for a bare label) the
    manifest's, goes around it. Plain replacement: braces in labels and descriptions are text.
    """
    if not label.description:
        return (template or manifest.template).replace("{}", label.name)
    parts = {"{label}": label.name, "{description}": label.description}
    described = _SLOT.sub(lambda slot: parts[slot[0]], manifest.description_template)
    return template.replace("{}", described) if template else described
