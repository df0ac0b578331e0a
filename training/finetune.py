"""Joint fine-tuning: sentiment by cross-entropy, the embedding held to the frozen original's.

The embedding loss is the squared distance to the original's vector over the original's own variance: 0 is a perfect
copy, 1 is no better than the mean vector. (A plain cosine would hardly move: all vectors of this encoder lie close.)
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers.models.bert.modeling_bert import BertSelfAttention

from training.encoder import Encoder
from training.examples import NO_LABEL, Example
from training.vocabulary import PAD_ID


@dataclass(frozen=True)
class Plan:
    """Hyperparameters of one run."""

    epochs: int = 2
    batch_texts: int = 32
    max_tokens: int = 80
    frozen_layers: int = 6
    preserved_share: float = 0.5
    """Share of the unlabelled texts that each epoch draws anew."""
    trunk_rate: float = 1e-4
    head_rate: float = 4e-4
    weight_decay: float = 0.01
    warmup: float = 0.06
    label_smoothing: float = 0.1
    embedding_weight: float = 1.0
    seed: int = 7
    checkpoint_steps: int = 150


def encode(tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
    """Token ids with specials, truncated at the end to `max_tokens`."""
    tokenizer.enable_truncation(max_tokens)
    ids = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    tokenizer.no_truncation()
    return ids


def padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Ids [B, T] and mask [B, T] of the longest row's length."""
    longest = max(len(row) for row in rows)
    ids = torch.full((len(rows), longest), PAD_ID, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row)
        mask[number, : len(row)] = 1
    return ids, mask


def runs_by_length(lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    """Indices in runs of like length, shortest first."""
    order = sorted(range(len(lengths)), key=lambda number: lengths[number])
    for start in range(0, len(order), size):
        yield order[start : start + size]


def shuffled_runs(lengths: Sequence[int], size: int, rng: random.Random) -> list[list[int]]:
    """Random runs whose texts have like lengths: sorted inside random pools of 50 runs, then shuffled."""
    order = list(range(len(lengths)))
    rng.shuffle(order)
    runs: list[list[int]] = []
    for start in range(0, len(order), size * 50):
        pool = sorted(order[start : start + size * 50], key=lambda number: lengths[number])
        runs += [pool[at : at + size] for at in range(0, len(pool), size)]
    rng.shuffle(runs)
    return runs


@torch.inference_mode()
def outputs(
    encoder: Encoder, rows: Sequence[Sequence[int]], size: int = 32
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Embeddings [N, H] and logits [N, 2] of token rows, in their order, in bfloat16."""
    encoder.eval()
    embeddings: npt.NDArray[np.float32] = np.zeros((len(rows), encoder.trunk.config.hidden_size), np.float32)
    logits: npt.NDArray[np.float32] = np.zeros((len(rows), 2), np.float32)
    for run in runs_by_length([len(row) for row in rows], size):
        with torch.autocast("cpu", torch.bfloat16):
            embedding, logit = encoder(*padded([rows[number] for number in run]))
        embeddings[run] = embedding.float().numpy()
        logits[run] = logit.float().numpy()
    return embeddings, logits


def freeze(encoder: Encoder, layers: int) -> None:
    """Embeddings and the first `layers` layers stay as they are; no dropout of attention weights, which would
    double a step's time on a CPU."""
    fixed = [encoder.trunk.embeddings, *encoder.trunk.encoder.layer[:layers]]
    for module in fixed:
        module.requires_grad_(False)
    for module in encoder.trunk.modules():
        if isinstance(module, BertSelfAttention):
            module.dropout.p = 0.0


class LowerStates:
    """What the fixed first layers make of every text, kept in bfloat16: they are worked out once, not every epoch."""

    def __init__(self, encoder: Encoder, rows: Sequence[Sequence[int]], layers: int, size: int = 32) -> None:
        lengths = [len(row) for row in rows]
        self.starts = np.concatenate(([0], np.cumsum(lengths)))
        self.states = torch.empty((int(self.starts[-1]), encoder.trunk.config.hidden_size), dtype=torch.bfloat16)
        encoder.eval()
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            for run in runs_by_length(lengths, size):
                states = encoder.lower(*padded([rows[number] for number in run]), layers)
                for row, number in enumerate(run):
                    self.states[self.starts[number] : self.starts[number + 1]] = states[row, : lengths[number]]

    def batch(self, run: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Padded states [B, T, H] and mask [B, T]."""
        parts = [self.states[self.starts[number] : self.starts[number + 1]] for number in run]
        states = nn.utils.rnn.pad_sequence(parts, batch_first=True).float()
        lengths = torch.tensor([len(part) for part in parts])
        return states, (torch.arange(states.shape[1])[None, :] < lengths[:, None]).long()


class Finetuning:
    """One resumable run. State lies in `checkpoint`, written every `plan.checkpoint_steps` steps."""

    def __init__(
        self,
        encoder: Encoder,
        rows: Sequence[Sequence[int]],
        examples: Sequence[Example],
        targets: npt.NDArray[np.float32],
        *,
        plan: Plan,
        checkpoint: Path,
        say: Callable[[str], None],
    ) -> None:
        self.encoder, self.plan, self.checkpoint, self.say = encoder, plan, checkpoint, say
        self.labels = torch.tensor([example.label for example in examples])
        self.targets = torch.from_numpy(targets)
        self.variance = (self.targets - self.targets.mean(0)).pow(2).sum(1).mean()
        self.epoch_runs = [self._epoch(epoch, [len(row) for row in rows]) for epoch in range(plan.epochs)]
        self.runs = [run for runs in self.epoch_runs for run in runs]
        self.lower = LowerStates(encoder, rows, plan.frozen_layers)
        freeze(encoder, plan.frozen_layers)
        trunk = [p for p in encoder.trunk.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": trunk, "lr": plan.trunk_rate, "weight_decay": plan.weight_decay},
                {"params": list(encoder.head.parameters()), "lr": plan.head_rate, "weight_decay": plan.weight_decay},
            ],
            fused=True,
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self._rate)
        self.step = 0

    def _epoch(self, epoch: int, lengths: Sequence[int]) -> list[list[int]]:
        rng = random.Random(self.plan.seed + epoch)  # noqa: S311 - the same draw every time
        chosen = [
            number
            for number, label in enumerate(self.labels.tolist())
            if label != NO_LABEL or rng.random() < self.plan.preserved_share
        ]
        runs = shuffled_runs([lengths[number] for number in chosen], self.plan.batch_texts, rng)
        return [[chosen[at] for at in run] for run in runs]

    def _rate(self, step: int) -> float:
        warm = self.plan.warmup * len(self.runs)
        return min((step + 1) / warm, max(0.0, (len(self.runs) - step) / (len(self.runs) - warm)))

    def run(self, after_epoch: Callable[[int], None]) -> None:
        """Trains to the end, from the checkpoint if there is one."""
        self._resume()
        ends = np.cumsum([len(runs) for runs in self.epoch_runs]).tolist()
        started, texts = time.monotonic(), 0
        while self.step < len(self.runs):
            run = self.runs[self.step]
            sentiment, distance = self._learn(run)
            self.step += 1
            texts += len(run)
            if self.step % 50 == 0:
                speed = texts / (time.monotonic() - started)
                self.say(
                    f"step {self.step}/{len(self.runs)} sentiment {sentiment:.3f} "
                    f"embedding {distance:.3f} texts/s {speed:.0f}"
                )
            if self.step % self.plan.checkpoint_steps == 0:
                self._save()
            if self.step in ends:
                after_epoch(ends.index(self.step) + 1)
        self._save()

    def _learn(self, run: Sequence[int]) -> tuple[float, float]:
        self.encoder.train()
        labels = self.labels[list(run)]
        with torch.autocast("cpu", torch.bfloat16):
            embedding, logits = self.encoder.upper(*self.lower.batch(run), self.plan.frozen_layers)
        distance = (embedding.float() - self.targets[list(run)]).pow(2).sum(1).mean() / self.variance
        loss = self.plan.embedding_weight * distance
        sentiment = torch.zeros(())
        if bool((labels != NO_LABEL).any()):
            sentiment = nn.functional.cross_entropy(
                logits.float(), labels, ignore_index=NO_LABEL, label_smoothing=self.plan.label_smoothing
            )
            loss = loss + sentiment * (labels != NO_LABEL).float().mean()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        nn.utils.clip_grad_norm_(self.encoder.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        return sentiment.item(), distance.item()

    def _save(self) -> None:
        state = {
            "step": self.step,
            "encoder": self.encoder.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.checkpoint)

    def _resume(self) -> None:
        if not self.checkpoint.exists():
            return
        state = torch.load(self.checkpoint, weights_only=True)
        self.encoder.load_state_dict(state["encoder"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.step = int(state["step"])
        self.say(f"resumed at step {self.step}")
