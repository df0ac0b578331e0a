"""All choices of one fine-tuning run, and their defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from training.loop import Schedule

HEAD_RATE_FACTOR = 4.0
CHECKPOINT_STEPS = 50


@dataclass(frozen=True)
class Recipe:
    """`rate`: the trunk's peak learning rate; the head's is four times it. `max_tokens`: None takes the base's, 128 at
    most. `patience_epochs`: epochs without a better macro-F1 after which training stops. `eval_share`: of the texts,
    kept apart where no eval file is given."""

    epochs: int = 5
    rate: float = 5e-5
    batch_texts: int = 32
    accumulate: int = 1
    max_tokens: int | None = None
    weight_decay: float = 0.01
    decay: Literal["linear", "cosine"] = "linear"
    warmup_share: float = 0.06
    clip_norm: float = 1.0
    patience_epochs: int = 2
    class_weights: Literal["balanced", "none"] = "balanced"
    label_smoothing: float = 0.0
    eval_share: float = 0.1
    seed: int = 7
    precision: Literal["fp32", "int8"] = "int8"

    def schedule(self) -> Schedule:
        """What `training.loop` needs of it."""
        return Schedule(
            epochs=self.epochs,
            batch_texts=self.batch_texts,
            accumulate=self.accumulate,
            rate=self.rate,
            head_rate=self.rate * HEAD_RATE_FACTOR,
            weight_decay=self.weight_decay,
            warmup_share=self.warmup_share,
            decay=self.decay,
            clip_norm=self.clip_norm,
            seed=self.seed,
            checkpoint_steps=CHECKPOINT_STEPS,
            patience_epochs=self.patience_epochs,
        )
