"""What each epoch of a run scored, kept on disk beside the run's checkpoint, and the learning curves made of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.loop import Outcome
from training.plots import Curve


class History:
    """Scores by epoch, from 1. A resumed run has those of the run before it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.epochs: dict[int, dict[str, float]] = {}
        if path.exists():
            self.epochs = {int(epoch): scores for epoch, scores in json.loads(path.read_text("utf-8")).items()}

    def add(self, epoch: int, scores: Mapping[str, float]) -> None:
        """An epoch that is trained again, after a kill, overwrites itself."""
        self.epochs[epoch] = {name: round(value, 6) for name, value in scores.items()}
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(self.epochs), "utf-8")
        partial.replace(self.path)

    def as_json(self, outcome: Outcome, ends: Sequence[int]) -> dict[str, Any]:
        """For a report: losses over steps, scores over epochs. `ends`: the last step of each epoch."""
        return {
            "train_loss": [{"step": step, "loss": round(loss, 6)} for step, loss in outcome.losses],
            "epochs": [
                {"epoch": epoch, "step": ends[epoch - 1], **self.epochs.get(epoch, {})}
                for epoch in range(1, len(outcome.metrics) + 1)
            ],
            "best_epoch": outcome.best_epoch,
            "stopped_early": outcome.stopped_early,
        }


def train_curve(history: Mapping[str, Any]) -> Curve:
    """The train loss over epochs, of what `History.as_json` gave."""
    per_epoch = history["epochs"][0]["step"] if history["epochs"] else 1
    return [(point["step"] / per_epoch, point["loss"]) for point in history["train_loss"]]


def epoch_curve(history: Mapping[str, Any], name: str) -> Curve:
    """One score over epochs."""
    return [(float(epoch["epoch"]), epoch[name]) for epoch in history["epochs"] if name in epoch]
