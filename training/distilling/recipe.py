"""All choices of one distillation, and their defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from training.loop import Schedule
from training.narrow import Shape

HEAD_RATE_FACTOR = 2.0
CHECKPOINT_STEPS = 100


@dataclass(frozen=True)
class Weights:
    """How much each part of the loss counts. `soft_temperature` softens both models' logits before they are compared.

    Embeddings and states count as squared distances over the teacher's own variance: 0 is a perfect copy, 1 no better
    than the mean vector.
    """

    soft: float = 1.0
    hard: float = 0.5
    embedding: float = 1.0
    states: float = 0.5
    soft_temperature: float = 2.0


@dataclass(frozen=True)
class Recipe:
    """`vocabulary`: pieces to keep; None keeps all. `start`: see `training.distilling.start`.
    `max_tokens`: of a text while learning; None takes the teacher's, 128 at most."""

    shape: Shape
    vocabulary: int | None = None
    start: Literal["teacher", "random"] = "teacher"
    epochs: int = 5
    rate: float = 4e-4
    batch_texts: int = 32
    max_tokens: int | None = None
    weights: Weights = Weights()
    eval_share: float = 0.1
    seed: int = 7
    precision: Literal["fp32", "int8"] = "int8"

    def schedule(self) -> Schedule:
        """What `training.loop` needs of it."""
        return Schedule(
            epochs=self.epochs,
            batch_texts=self.batch_texts,
            rate=self.rate,
            head_rate=self.rate * HEAD_RATE_FACTOR,
            seed=self.seed,
            checkpoint_steps=CHECKPOINT_STEPS,
        )


def student_shape(teacher: Shape, layers: int, hidden: int, heads: int | None, ffn: int | None) -> Shape:
    """The student's shape: as many heads as the teacher and feed-forward blocks of four times its width, unless given.

    Raises ValueError that names the option at fault: a student is in nothing larger than its teacher.
    """
    wanted = Shape(layers, hidden, heads or teacher.heads, ffn or min(4 * hidden, teacher.ffn))
    pairs = (
        ("--layers", wanted.layers, teacher.layers),
        ("--hidden", wanted.hidden, teacher.hidden),
        ("--heads", wanted.heads, teacher.heads),
        ("--ffn", wanted.ffn, teacher.ffn),
    )
    for option, asked, most in pairs:
        if not 1 <= asked <= most:
            raise ValueError(f"{option} is {asked}; the teacher has {most}, a student at most as many")
    if wanted.hidden % wanted.heads:
        fitting = ", ".join(str(n) for n in range(1, teacher.heads + 1) if wanted.hidden % n == 0)
        raise ValueError(
            f"--hidden {wanted.hidden} cannot be divided among {wanted.heads} heads; --heads may be {fitting}"
        )
    if wanted == teacher:
        raise ValueError("the student has the teacher's own shape; give fewer --layers or a smaller --hidden")
    return wanted
