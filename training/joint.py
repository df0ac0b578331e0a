"""Learning both tasks at once: sentiment by cross-entropy, routing by cross-entropy over a label set, and the embedding
held to that of another model (the pretrained original, or a teacher).

The distance between embeddings is squared and divided by the other model's own variance: 0 is a perfect copy, 1 no
better than the mean vector. (A plain cosine would hardly move: all vectors of this encoder lie close.) A teacher's
logits are learned at a temperature, after Hinton et al., "Distilling the Knowledge in a Neural Network" (2015).
Where texts come from is `training.examples`'.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from training.batches import autocast, padded, shuffled_runs
from training.network import Network, Output

NO_LABEL = -100
_CENTRE_SHARE = 0.02
"""Share of a run's mean in the running mean of all texts' embeddings."""
Rows = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Weights:
    """How much each part counts; `hard` and `written`: the label itself, of a text with a teacher's logits and of one
    without. `soft_temperature` softens both models' logits before they are compared."""

    hard: float = 1.0
    written: float = 1.0
    soft: float = 0.0
    embedding: float = 0.5
    routing: float = 1.0
    label_smoothing: float = 0.1
    soft_temperature: float = 2.0
    routing_temperature: float = 0.05


@dataclass(frozen=True)
class Texts:
    """N token rows with a label each (or NO_LABEL). `targets` [N, H]: the embeddings to copy; `logits` [N, L]: a
    teacher's, NaN where it is not asked. `repeats`: how often an epoch shows a text; a fraction is drawn anew."""

    rows: Rows
    labels: npt.NDArray[np.int64]
    targets: npt.NDArray[np.float32]
    repeats: npt.NDArray[np.float64]
    logits: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True)
class LabelledSet:
    """Token rows of a label set's labels, in several wordings [wordings][labels], and texts with their label."""

    wordings: Sequence[Rows]
    rows: Rows
    labels: npt.NDArray[np.int64]


class Joint:
    """The runs of an epoch and the loss of a run, for `training.loop.Loop`. Runs of texts hold their numbers; runs of
    routing texts hold numbers from N on, all of one label set."""

    def __init__(
        self,
        network: Network,
        texts: Texts,
        sets: Sequence[LabelledSet],
        *,
        weights: Weights,
        batch_texts: int,
        seed: int,
        routing_repeats: int = 1,
    ) -> None:
        self.network, self.texts, self.sets, self.weights = network, texts, sets, weights
        self.batch_texts, self.seed, self.routing_repeats = batch_texts, seed, routing_repeats
        self.pad_id = int(network.trunk.config.pad_token_id or 0)
        self.labels = torch.from_numpy(texts.labels)
        self.targets = torch.from_numpy(texts.targets)
        self.variance = float((texts.targets - texts.targets.mean(0)).__pow__(2).sum(1).mean())
        self.teacher = None if texts.logits is None else torch.from_numpy(texts.logits)
        taught = torch.ones(len(texts.rows), dtype=torch.bool) if self.teacher is None else ~self.teacher.isnan().any(1)
        self.hard = torch.where(taught, weights.hard, weights.written)
        self.starts = len(texts.rows) + np.concatenate(([0], np.cumsum([len(one.rows) for one in sets]))).astype(int)
        self.rng = random.Random(seed)  # noqa: S311 - the same draw every time
        self.centre = self.targets.mean(0)

    def batches(self, epoch: int) -> list[list[int]]:
        """All runs of an epoch, shuffled."""
        rng = random.Random(self.seed + epoch)  # noqa: S311 - the same draw every time
        chosen: list[int] = []
        for number, repeat in enumerate(self.texts.repeats.tolist()):
            times = int(repeat) + (rng.random() < repeat - int(repeat))
            chosen += [number] * times
        runs = shuffled_runs([len(self.texts.rows[number]) for number in chosen], self.batch_texts, rng)
        found = [[chosen[at] for at in run] for run in runs]
        for number, one in list(enumerate(self.sets)) * self.routing_repeats:
            order = list(range(int(self.starts[number]), int(self.starts[number]) + len(one.rows)))
            rng.shuffle(order)
            found += [order[at : at + self.batch_texts] for at in range(0, len(order), self.batch_texts)]
        rng.shuffle(found)
        return found

    def loss(self, run: list[int]) -> Tensor:
        """The weighted loss of one run."""
        return self._routing(run) if run[0] >= self.starts[0] else self._texts(run)

    def _texts(self, run: list[int]) -> Tensor:
        output = self._forward([self.texts.rows[number] for number in run])
        distance = (output.embedding - self.targets[run]).pow(2).sum(1).mean() / self.variance
        loss = self.weights.embedding * distance
        self.centre = self.centre.lerp(output.embedding.detach().mean(0), _CENTRE_SHARE)
        labels, logits = self.labels[run], output.logits.float()
        known = labels != NO_LABEL
        if bool(known.any()):
            smoothing = self.weights.label_smoothing
            each = nn.functional.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")
            loss = loss + (each * self.hard[run]).sum() / len(run)
        if self.teacher is not None and self.weights.soft:
            teacher = self.teacher[run]
            asked = ~teacher.isnan().any(1)
            if bool(asked.any()):
                loss = loss + self.weights.soft * self._soft(logits[asked], teacher[asked]) * asked.float().mean()
        return loss

    def _soft(self, logits: Tensor, teacher: Tensor) -> Tensor:
        heat = self.weights.soft_temperature
        found = nn.functional.log_softmax(logits / heat, dim=-1)
        wanted = nn.functional.softmax(teacher / heat, dim=-1)
        return nn.functional.kl_div(found, wanted, reduction="batchmean") * heat**2

    def _routing(self, run: list[int]) -> Tensor:
        which = int(np.searchsorted(self.starts, run[0], side="right")) - 1
        one = self.sets[which]
        at = [number - int(self.starts[which]) for number in run]
        wording = one.wordings[self.rng.randrange(len(one.wordings))]
        output = self._forward([*(one.rows[number] for number in at), *wording])
        texts, labels = output.embedding[: len(at)], output.embedding[len(at) :]
        # Routing compares centred vectors; the running mean of texts stands for the neutral texts of later.
        similarity = (texts - self.centre) @ labels.T / self.weights.routing_temperature
        wanted = torch.from_numpy(one.labels[at])
        return self.weights.routing * nn.functional.cross_entropy(similarity, wanted)

    def _forward(self, rows: Rows) -> Output:
        ids, mask = padded(rows, self.pad_id)
        with autocast():
            output: Output = self.network(ids, mask)
        return output
