"""The student while it learns: the network, the projections of its states into the teacher's space, and the loss.

Soft logits at a temperature after Hinton et al., "Distilling the Knowledge in a Neural Network" (2015); states of
layers through a learned linear projection where widths differ after Jiao et al., "TinyBERT" (2020). Embeddings are held
to the teacher's in the student's own basis, without a projection that learns: their cosines are what routing uses.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from training.batches import autocast, padded, runs_by_length, shuffled_runs
from training.distilling.answers import Answers, Rows, all_states, picked_states
from training.distilling.recipe import Weights
from training.narrow import Start
from training.network import Network

NO_LABEL = -100
HEAD_PREFIX = "network.head."


class Student(nn.Module):
    """What is trained; the projections are thrown away at the end."""

    def __init__(self, start: Start, n_layers: int, *, is_random: bool) -> None:
        super().__init__()
        self.network: Network = start.network
        same = start.basis.shape[0] == start.basis.shape[1]
        self.projections = nn.ModuleList([nn.Identity() if same else _projection(start.basis) for _ in range(n_layers)])
        # The rows of rare pieces would see few texts; where they were the teacher's they stay.
        self.network.trunk.embeddings.word_embeddings.requires_grad_(is_random)
        # A copy has nothing to gain from noise, and without it a resumed run equals one that ran through.
        for module in self.network.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0


class Copying:
    """Runs of texts and their loss, for `training.loop.Loop`. Texts from `n_train` on are kept to judge by."""

    def __init__(
        self,
        student: Student,
        rows: Rows,
        labels: Sequence[int],
        answers: Answers,
        *,
        n_train: int,
        basis: Tensor,
        weights: Weights,
        batch_texts: int,
        seed: int,
        device: str,
    ) -> None:
        self.student, self.rows, self.answers, self.n_train = student, rows, answers, n_train
        self.weights, self.batch_texts, self.seed, self.device = weights, batch_texts, seed, device
        self.pad_id = int(student.network.trunk.config.pad_token_id or 0)
        self.labels = torch.tensor(labels)
        self.logits = torch.from_numpy(answers.logits)
        self.targets = nn.functional.normalize(torch.from_numpy(answers.embedding) @ basis, dim=-1)
        self.positions = torch.from_numpy(answers.positions)
        train = self.targets[:n_train]
        self.spread = float((train - train.mean(0)).pow(2).sum(1).mean())
        sample = answers.at(list(range(min(n_train, 1000))))
        self.spreads = (sample - sample.mean((0, 2), keepdim=True)).pow(2).sum(-1).mean((0, 2)).to(device)

    def batches(self, epoch: int) -> list[list[int]]:
        """All runs of an epoch, shuffled."""
        rng = random.Random(self.seed * 1009 + epoch)  # noqa: S311 - the same draw every time
        return shuffled_runs([len(row) for row in self.rows[: self.n_train]], self.batch_texts, rng)

    def loss(self, run: list[int]) -> Tensor:
        """The weighted loss of a run."""
        return self.parts(run)[0]

    def parts(self, run: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        """The loss, and the student's logits [B, L] and embedding [B, h]."""
        ids, mask = padded([self.rows[number] for number in run], self.pad_id)
        with autocast(self.device):
            output, states = all_states(self.student.network, ids.to(self.device), mask.to(self.device))
        weights = self.weights
        loss = output.states.new_zeros(())
        logits, wanted = output.logits.float(), self.logits[run].to(self.device)
        if weights.soft:
            loss = loss + weights.soft * _soft(logits, wanted, weights.soft_temperature)
        labels = self.labels[run].to(self.device)
        known = labels != NO_LABEL
        if weights.hard and bool(known.any()):
            loss = (
                loss + weights.hard * nn.functional.cross_entropy(logits[known], labels[known]) * known.float().mean()
            )
        if weights.embedding:
            distance = (output.embedding - self.targets[run].to(self.device)).pow(2).sum(1).mean() / self.spread
            loss = loss + weights.embedding * distance
        if weights.states:
            loss = loss + weights.states * self._states(states, run)
        return loss, logits, output.embedding

    def judged(self) -> dict[str, float]:
        """On the texts to judge by: mean loss, share of the teacher's labels, accuracy if any are labelled, and the
        mean cosine of embeddings with the teacher's."""
        self.student.eval()
        kept = range(self.n_train, len(self.rows))
        total, agreed, right, labelled, cosine = 0.0, 0, 0, 0, 0.0
        with torch.inference_mode():
            for order in runs_by_length([len(self.rows[number]) for number in kept], self.batch_texts):
                run = [kept[number] for number in order]
                loss, logits, embedding = self.parts(run)
                found, labels = logits.argmax(1).cpu(), self.labels[run]
                total += float(loss) * len(run)
                agreed += int((found == self.logits[run].argmax(1)).sum())
                right += int((found == labels).sum())
                labelled += int((labels != NO_LABEL).sum())
                cosine += float((embedding.cpu() * self.targets[run]).sum())
        scores = {"loss": total / len(kept), "agreement": agreed / len(kept), "cosine": cosine / len(kept)}
        return scores | ({"accuracy": right / labelled} if labelled else {})

    def _states(self, states: Sequence[Tensor], run: list[int]) -> Tensor:
        at, wanted = self.positions[run].to(self.device), self.answers.at(run).to(self.device)
        distances = []
        for number, (projection, found) in enumerate(zip(self.student.projections, states, strict=True)):
            projected = projection(picked_states(found.float(), at))
            distances.append((projected - wanted[:, number]).pow(2).sum(-1).mean() / self.spreads[number])
        return torch.stack(distances).mean()


def _projection(basis: Tensor) -> nn.Linear:
    """From the student's states to the teacher's, at first as the basis [H, h] says."""
    linear = nn.Linear(basis.shape[1], basis.shape[0])
    linear.weight.data.copy_(basis)
    nn.init.zeros_(linear.bias)
    return linear


def _soft(logits: Tensor, teacher: Tensor, heat: float) -> Tensor:
    found = nn.functional.log_softmax(logits / heat, dim=-1)
    wanted = nn.functional.softmax(teacher / heat, dim=-1)
    return nn.functional.kl_div(found, wanted, reduction="batchmean") * heat**2
