"""How a label is put into words before it is encoded: chosen by accuracy on the routing dev sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.dev_sets import RoutingSet
from training.runner import Runner

FloatArray = npt.NDArray[np.float64]
PREFIX = ""
"""Labels are encoded like texts: over all forms that was better than the prefix for documents (0.773 to 0.762)."""
TEMPLATE = "{}"
"""Sentences around a bare label gained nothing beyond the noise of the dev sets."""
DESCRIPTION_TEMPLATES = (
    "{label}：{description}",
    "{description}",
    "{label}。{description}",
    "{label} - {description}",
    "{label} — {description}",
)


@dataclass(frozen=True)
class LabelForm:
    """A prefix, what goes around a bare label, and what joins a label and its description."""

    prefix: str
    template: str
    description_template: str

    def texts(self, routing: RoutingSet) -> list[str]:
        """The wording of each label of a set."""
        return [
            self.description_template.replace("{label}", label.name).replace("{description}", label.description)
            if label.description
            else self.template.replace("{}", label.name)
            for label in routing.labels.labels
        ]


@dataclass(frozen=True)
class Similarities:
    """Centred cosines [N, labels] of a dev set's texts and the index of each text's right label."""

    centred: FloatArray
    right: npt.NDArray[np.intp]

    @property
    def accuracy(self) -> float:
        """Share of texts whose nearest label is the right one."""
        return float((self.centred.argmax(axis=1) == self.right).mean())


def similarities(
    runner: Runner, routing: RoutingSet, form: LabelForm, neutral: npt.NDArray[np.float32], text_prefix: str = ""
) -> Similarities:
    """Cosines of every text to every label, minus the label's mean cosine to the neutral texts."""
    texts = runner.outputs(routing.texts, text_prefix)["embedding"].astype(np.float64)
    labels = runner.outputs(form.texts(routing), form.prefix)["embedding"].astype(np.float64)
    names = list(routing.labels.names)
    right = np.array([names.index(team) for team in routing.teams])
    return Similarities(texts @ labels.T - labels @ neutral.astype(np.float64), right)


def choose(
    runner: Runner, sets: Sequence[RoutingSet], neutral: npt.NDArray[np.float32], text_prefix: str = ""
) -> tuple[LabelForm, dict[str, float]]:
    """The form with the best mean accuracy over the sets (the first of equals), and its accuracy per set."""
    best: tuple[float, LabelForm, dict[str, float]] | None = None
    for description_template in DESCRIPTION_TEMPLATES:
        form = LabelForm(PREFIX, TEMPLATE, description_template)
        found = {s.name: similarities(runner, s, form, neutral, text_prefix).accuracy for s in sets}
        mean = float(np.mean(list(found.values())))
        if best is None or mean > best[0] + 1e-9:
            best = (mean, form, found)
    assert best is not None  # noqa: S101 - there is at least one form
    return best[1], best[2]
