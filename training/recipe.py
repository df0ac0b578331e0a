"""All numbers of the default model's recipe, and where its steps keep their results."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from training.examples import Amounts
from training.joint import Weights
from training.loop import Schedule
from training.quantize import Quantization


@dataclass(frozen=True)
class Stage:
    """One training run. `fixed_layers`: the embeddings and so many layers are not trained."""

    name: str
    schedule: Schedule
    weights: Weights
    max_tokens: int = 80
    fixed_layers: int = 0
    review_share: float = 1.0
    """How often an epoch shows a text of the corpora."""
    routing_repeats: int = 1
    """How often an epoch shows a label set."""


BROAD = Stage(
    "broad",
    Schedule(epochs=2, rate=1e-4, head_rate=4e-4, checkpoint_steps=150),
    Weights(embedding=1.0, routing=0.0),
    fixed_layers=6,
)
LARGE = Stage(
    "large",
    Schedule(epochs=1, rate=6e-5, head_rate=1e-4, checkpoint_steps=60),
    Weights(embedding=0.5),
    review_share=0.4,
)
SMALL = Stage(
    "small",
    Schedule(epochs=2, rate=3e-4, head_rate=4e-4, warmup_share=0.09, last_share=0.355, checkpoint_steps=150),
    Weights(hard=0.4, written=1.5, soft=0.8, embedding=1.0, routing=0.5, label_smoothing=0.05),
)
POLISHED = Stage(
    "polished",
    Schedule(epochs=1, rate=1.1e-4, head_rate=1.5e-4, warmup_share=0.02, checkpoint_steps=150),
    Weights(
        hard=0.4, written=1.5, soft=0.8, embedding=0.4, routing=1.0, label_smoothing=0.05, routing_temperature=0.02
    ),
    review_share=0.5,
    routing_repeats=8,
)


@dataclass(frozen=True)
class Recipe:
    """`pieces`: the size of the pruned vocabulary. `layers`, `ffn`: the shape of the small model."""

    pieces: int = 40_000
    max_tokens: int = 256
    broad: Stage = BROAD
    large: Stage = LARGE
    small: Stage = SMALL
    polished: Stage = POLISHED
    layers: int = 4
    ffn: int | None = 1024
    amounts: Amounts = field(default_factory=Amounts)
    more: Amounts = field(
        default_factory=lambda: Amounts(
            titles=5000, snippets=8000, newspaper=3000, english=5000, passages=0, unlabelled_repeats=0.4
        )
    )
    quantization: Quantization = field(default_factory=Quantization)
    seed: int = 7
    threads: int = 2


@dataclass(frozen=True)
class Places:
    """`work`: steps' results; `cache`: downloaded packages; `models`: where the folder goes; `sample`: the tickets."""

    work: Path
    cache: Path
    models: Path
    sample: Path
