"""One resumable training run: AdamW, warmup and decay, clipping, accumulation, checkpoints, early stopping.

What is learned, and from what, is the caller's: it gives the runs of an epoch and the loss of a run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from schemas.errors import PermanentError

OnStep = Callable[[int, int], None]
Say = Callable[[str], None]
ParameterGroups = list[dict[str, Any]]


class DivergedError(PermanentError):
    """The loss is no number any more."""


@dataclass(frozen=True)
class Schedule:
    """`rate` is the trunk's peak learning rate, `head_rate` the head's; both fall to `last_share` of it.
    `patience_epochs`: None never stops early."""

    epochs: int
    batch_texts: int = 32
    accumulate: int = 1
    rate: float = 5e-5
    head_rate: float = 2e-4
    weight_decay: float = 0.01
    warmup_share: float = 0.06
    decay: Literal["linear", "cosine"] = "linear"
    last_share: float = 0.0
    clip_norm: float = 1.0
    seed: int = 7
    checkpoint_steps: int = 100
    patience_epochs: int | None = None

    def factor(self, step: int, steps: int) -> float:
        """What the peak rate is multiplied by at `step` of `steps`."""
        warm = max(1.0, self.warmup_share * steps)
        if step < warm:
            return (step + 1) / warm
        left = max(0.0, (steps - step) / max(1.0, steps - warm))
        shape = left if self.decay == "linear" else 0.5 * (1 - float(np.cos(np.pi * left)))
        return self.last_share + (1 - self.last_share) * shape


@dataclass
class Outcome:
    """`losses`: (step, mean loss since the last entry); `metrics`: one per finished epoch; `best_epoch` from 1."""

    losses: list[tuple[int, float]] = field(default_factory=list)
    metrics: list[float] = field(default_factory=list)
    best_epoch: int = 0
    stopped_early: bool = False


def groups(module: nn.Module, schedule: Schedule, head_prefix: str = "head.") -> ParameterGroups:
    """AdamW's parameter groups: the head with a rate of its own; biases and norms without weight decay."""
    parts: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            parts.setdefault((name.startswith(head_prefix), parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": schedule.head_rate if head else schedule.rate,
            "weight_decay": schedule.weight_decay if decayed else 0.0,
        }
        for (head, decayed), parameters in parts.items()
    ]


class Loop:
    """`batches(epoch)` gives the runs of an epoch from 0, the same ones each time it is asked; `loss(run)` the mean
    loss of one run. The state lies in `checkpoint`; a run that was killed goes on from it with the same numbers."""

    def __init__(
        self,
        module: nn.Module,
        parameter_groups: ParameterGroups,
        batches: Callable[[int], list[list[int]]],
        loss: Callable[[list[int]], Tensor],
        *,
        schedule: Schedule,
        checkpoint: Path,
        say: Say,
        on_step: OnStep | None = None,
    ) -> None:
        self.module, self.loss, self.schedule, self.checkpoint, self.say = module, loss, schedule, checkpoint, say
        self.on_step = on_step
        epochs = [batches(epoch) for epoch in range(schedule.epochs)]
        size = schedule.accumulate
        self.steps = [runs[at : at + size] for runs in epochs for at in range(0, len(runs), size)]
        self.ends = np.cumsum([-(-len(runs) // size) for runs in epochs]).tolist()
        self.optimizer = torch.optim.AdamW(parameter_groups, fused=True)
        self.rates = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: schedule.factor(step, len(self.steps))
        )
        self.step = 0
        self.outcome = Outcome()
        self.best: dict[str, Tensor] = {}

    def run(self, after_epoch: Callable[[int], float | None]) -> Outcome:
        """Trains to the end, or until the metric that `after_epoch(epoch from 1)` returns has not risen for
        `patience_epochs`. If it returns metrics, the module ends with the best epoch's weights.

        Raises DivergedError if the loss becomes infinite.
        """
        if not self._resume():
            torch.manual_seed(self.schedule.seed)
        started, first, recent = time.monotonic(), self.step, []
        while self.step < len(self.steps) and not self.outcome.stopped_early:
            recent.append(self._learn(self.steps[self.step]))
            self.step += 1
            if self.on_step:
                self.on_step(self.step, len(self.steps))
            at_end = self.step in self.ends
            if self.step % 20 == 0 or at_end:
                self.outcome.losses.append((self.step, float(np.mean(recent))))
                recent = []
            if self.step % 100 == 0:
                rate = (self.step - first) / (time.monotonic() - started)
                self.say(f"step {self.step}/{len(self.steps)} loss {self.outcome.losses[-1][1]:.4f} {rate:.2f} steps/s")
            if at_end:
                self._judge(after_epoch(self.ends.index(self.step) + 1))
            if at_end or self.step % self.schedule.checkpoint_steps == 0:
                self._save()
        if self.best:
            self.module.load_state_dict(self.best)
        return self.outcome

    def _learn(self, runs: Sequence[list[int]]) -> float:
        self.module.train()
        total = 0.0
        for run in runs:
            loss = self.loss(run) / len(runs)
            if not torch.isfinite(loss):
                raise DivergedError(f"the loss became {loss.item()}; try a lower --rate than {self.schedule.rate:g}")
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            total += loss.item()
        nn.utils.clip_grad_norm_(self.module.parameters(), self.schedule.clip_norm)
        self.optimizer.step()
        self.rates.step()
        self.optimizer.zero_grad()
        return total

    def _judge(self, metric: float | None) -> None:
        if metric is None:
            return
        outcome = self.outcome
        if not outcome.metrics or metric > max(outcome.metrics):
            outcome.best_epoch = len(outcome.metrics) + 1
            self.best = {name: tensor.detach().clone() for name, tensor in self.module.state_dict().items()}
        outcome.metrics.append(metric)
        patience = self.schedule.patience_epochs
        outcome.stopped_early = patience is not None and len(outcome.metrics) - outcome.best_epoch >= patience

    def _save(self) -> None:
        state = {
            "step": self.step,
            "steps": len(self.steps),
            "module": self.module.state_dict(),
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
            "rates": self.rates.state_dict(),
            "torch_rng": torch.get_rng_state(),
            "outcome": {
                "losses": [list(pair) for pair in self.outcome.losses],
                "metrics": self.outcome.metrics,
                "best_epoch": self.outcome.best_epoch,
                "stopped_early": self.outcome.stopped_early,
            },
        }
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.checkpoint)

    def _resume(self) -> bool:
        if not self.checkpoint.exists():
            return False
        state = torch.load(self.checkpoint, weights_only=True)
        if state["steps"] != len(self.steps):
            self.say(f"{self.checkpoint} is of another run ({state['steps']} steps, not {len(self.steps)}): left alone")
            return False
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.rates.load_state_dict(state["rates"])
        torch.set_rng_state(state["torch_rng"])
        found = state["outcome"]
        self.best, self.step = state["best"], int(state["step"])
        losses = [(int(step), float(loss)) for step, loss in found["losses"]]
        self.outcome = Outcome(losses, list(found["metrics"]), int(found["best_epoch"]), bool(found["stopped_early"]))
        self.say(f"resumed at step {self.step} of {len(self.steps)}")
        return True
