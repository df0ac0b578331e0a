"""What the answers are worth: the classification report, proper scores, what holds at which score, and triage.

Pure functions of labels and probabilities [N, L].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.labels import LabelSet
from training.classification_report import ClassificationReport, report
from training.evaluating.asking import Answers
from training.evaluation import FloatArray, IntArray

Flags = npt.NDArray[np.bool_]
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
_LEAST_PROBABILITY = 1e-12
_DIGITS = 4


@dataclass(frozen=True)
class Coverage:
    """Of the texts whose score is at least `threshold`: their share of all, and how often they are right."""

    threshold: float
    share: float
    accuracy: float | None


@dataclass(frozen=True)
class TriageRule:
    """Which tickets are not sure enough. `threshold`: for teams without one of their own. `margin`: least lead over
    the next team."""

    teams: LabelSet
    threshold: float
    margin: float


@dataclass(frozen=True)
class Triage:
    """What a rule does: `share` of the tickets go to triage; `accuracy_of_rest` is that of the others."""

    threshold: float
    margin: float
    share: float
    accuracy_of_rest: float | None


@dataclass(frozen=True)
class Figures:
    """`brier`: the mean squared distance from the right answer, 0 to 2. Both it and the mean negative log likelihood
    are least when scores are right and well calibrated."""

    classification: ClassificationReport
    brier: float
    negative_log_likelihood: float
    coverage: tuple[Coverage, ...]
    triage: Triage | None

    def as_json(self) -> dict[str, Any]:
        """For a report or a manifest."""
        found = {
            **self.classification.as_json(),
            "brier": self.brier,
            "negative_log_likelihood": self.negative_log_likelihood,
            "coverage": [vars(part) for part in self.coverage],
        }
        return found if self.triage is None else {**found, "triage": vars(self.triage)}

    def as_text(self) -> str:
        """The classification report, and below it what else there is."""
        lines = [
            f"Brier score {self.brier:.4f}, negative log likelihood {self.negative_log_likelihood:.4f}",
            "",
            "score at least  share of texts  accuracy",
            *(f"{part.threshold:14.2f}  {part.share:14.4f}  {_figure(part.accuracy):>8}" for part in self.coverage),
        ]
        if self.triage:
            rest = _figure(self.triage.accuracy_of_rest)
            lines += [
                "",
                f"triage below {self.triage.threshold} (teams without a threshold of their own) or with a lead under "
                f"{self.triage.margin}: {self.triage.share:.4f} of the tickets; accuracy of the others {rest}",
            ]
        return self.classification.as_text() + "\n" + "\n".join(lines) + "\n"


def figures(expected: IntArray, answers: Answers, labels: Sequence[str], rule: TriageRule | None = None) -> Figures:
    """`expected` [N]: numbers of the true labels. `rule`: what routing goes by."""
    probabilities = answers.probabilities
    truth = np.zeros_like(probabilities)
    truth[np.arange(len(expected)), expected] = 1
    confidence, right = probabilities.max(axis=1), answers.found == expected
    of_truth = np.maximum(probabilities[np.arange(len(expected)), expected], _LEAST_PROBABILITY)
    return Figures(
        classification=report(expected, probabilities, labels, answers.found),
        brier=round(float(((probabilities - truth) ** 2).sum(axis=1).mean()), _DIGITS),
        negative_log_likelihood=round(float(-np.log(of_truth).mean()), _DIGITS),
        coverage=tuple(Coverage(threshold, *_kept(confidence >= threshold, right)) for threshold in THRESHOLDS),
        triage=_triage(probabilities, answers.found, right, rule) if rule else None,
    )


def _triage(probabilities: FloatArray, found: IntArray, right: Flags, rule: TriageRule) -> Triage:
    """As the router decides: a team's own threshold goes before the general one, and the lead has to be enough."""
    own = np.array([rule.threshold if team.threshold is None else team.threshold for team in rule.teams.labels])
    ordered = np.sort(probabilities, axis=1)
    score = ordered[:, -1]
    lead = score - ordered[:, -2] if len(own) > 1 else score
    share, accuracy = _kept((score >= own[found]) & (lead >= rule.margin), right)
    return Triage(rule.threshold, rule.margin, round(1 - share, _DIGITS), accuracy)


def _kept(chosen: Flags, right: Flags) -> tuple[float, float | None]:
    accuracy = round(float(right[chosen].mean()), _DIGITS) if chosen.any() else None
    return round(float(chosen.mean()), _DIGITS), accuracy


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
