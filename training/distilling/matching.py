"""What makes a student's scores those of its teacher: the centre of its similarities, and its temperatures.

Nothing here needs labels. A student is calibrated as well, or as badly, as its teacher: its temperatures are those at
which its scores lie nearest to the teacher's. Routing is matched among stand-ins for labels, short ones of the texts.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from schemas.manifest import NEUTRAL_FILE, Calibration, Manifest
from worker.inference.encoder import read_neutral
from worker.inference.model import Model
from worker.inference.scores import softmax

Array = npt.NDArray[np.float64]
RUN_TOKENS = 512
LABELS_OF_A_SET = 8
MOST_SETS = 12
MOST_TEXTS = 1000
_FACTORS = np.geomspace(0.1, 10, 461)


@dataclass(frozen=True)
class StandIns:
    """`texts`, and numbers of `labels` in sets of `LABELS_OF_A_SET` or fewer, among which every text is scored."""

    texts: list[str]
    labels: list[str]
    sets: list[list[int]]


@dataclass(frozen=True)
class RoutingMatch:
    """How near the student's routing is to the teacher's. `agreement`: share of texts with the same best label;
    `correlation`: of centred similarities."""

    calibration: Calibration
    agreement: float
    correlation: float


def stand_ins(texts: Sequence[str], seed: int) -> StandIns | None:
    """Short texts as labels, the others to score among them; None if there are too few texts."""
    rng = random.Random(seed)  # noqa: S311 - the same draw every time
    chosen = rng.sample(list(texts), min(MOST_TEXTS, len(texts)))
    by_length = sorted(chosen, key=len)
    n_labels = min(LABELS_OF_A_SET * MOST_SETS, len(chosen) // 3)
    if n_labels < 2:
        return None
    labels = by_length[:n_labels]
    rng.shuffle(labels)
    numbers = list(range(n_labels))
    sets = [numbers[at : at + LABELS_OF_A_SET] for at in range(0, n_labels, LABELS_OF_A_SET)]
    return StandIns(by_length[n_labels:], labels, [one for one in sets if len(one) > 1])


def centred(folder: Path, manifest: Manifest, given: StandIns, threads: int) -> Array:
    """Similarities [texts, labels] as the worker finds them, less each label's mean one to the neutral texts."""
    model = Model.load(folder, manifest, run_tokens=RUN_TOKENS, threads=threads)
    texts = model.embed(given.texts, manifest.prefixes.text)
    labels = model.embed([manifest.template.replace("{}", label) for label in given.labels], manifest.prefixes.label)
    found: Array = texts @ labels.T
    if NEUTRAL_FILE in manifest.files:
        found = found - labels @ read_neutral(folder / NEUTRAL_FILE, labels.shape[1])
    return found


def match_routing(teacher: Array, student: Array, sets: Sequence[Sequence[int]], given: Calibration) -> RoutingMatch:
    """`teacher`, `student`: centred similarities. `given`: the teacher's calibration; its sentiment is kept."""
    wanted = [softmax(teacher[:, one] / given.routing) for one in sets]
    found = [student[:, one] for one in sets]
    agreed = [(t.argmax(1) == s.argmax(1)).mean() for t, s in zip(wanted, found, strict=True)]
    # For labels scored one by one: the line that takes the student's similarities to the teacher's.
    x, y = student.ravel(), teacher.ravel()
    slope = max(float(((x - x.mean()) * (y - y.mean())).mean() / max(x.var(), 1e-12)), 0.1)
    shift = float(y.mean() - slope * x.mean())
    calibration = given.model_copy(
        update={
            "routing": round(nearest_temperature(wanted, found, given.routing), 5),
            "multi_label": round(given.multi_label / slope, 5),
            "multi_label_bias": round((given.multi_label_bias - shift) / slope, 5),
        }
    )
    return RoutingMatch(calibration, round(float(np.mean(agreed)), 4), round(float(np.corrcoef(x, y)[0, 1]), 4))


def nearest_temperature(wanted: Sequence[Array], logits: Sequence[Array], given: float) -> float:
    """Between a tenth and ten times `given`: that with the least cross-entropy of softmax(logits / it) to the `wanted`
    probabilities, [N, L] each, each set counting the same."""
    losses = [
        np.mean([_cross_entropy(one, values / (given * factor)) for one, values in zip(wanted, logits, strict=True)])
        for factor in _FACTORS
    ]
    return given * float(_FACTORS[int(np.argmin(losses))])


def _cross_entropy(wanted: Array, logits: Array) -> float:
    return float(-(wanted * np.log(np.maximum(softmax(logits), 1e-12))).sum(1).mean())
