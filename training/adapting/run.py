"""One adapting run: from texts and a base to a folder that fine-tuning takes as its base. No worker model comes of it.

A run that was killed goes on from its checkpoint when it is started again with the same texts, base and recipe.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from schemas.errors import ModelError, SourceError
from training.adapting.language_model import LanguageModel
from training.adapting.masking import IGNORED, masked, token_rows, vocabulary_of
from training.bases import Base, save_base
from training.batches import autocast, padded, runs_by_length, shuffled_runs
from training.cleaning import Tally, serving_tokenizer
from training.data_files import Row
from training.finetuning.split import group
from training.history import History, epoch_curve, train_curve
from training.loop import Loop, OnStep, Say, Schedule, groups
from training.plots import curves_png

REPORT_FILE, CURVES_FILE = "report.json", "learning_curves.png"
LEAST_ROWS = 20
CHECKPOINT_STEPS = 50
HEAD_RATE_FACTOR = 4.0
_HELD_OUT_SEED = 2**31


@dataclass(frozen=True)
class Recipe:
    """All choices of a run. `eval_share`: of the texts, held out to measure on."""

    epochs: int = 3
    rate: float = 5e-5
    batch_texts: int = 32
    accumulate: int = 1
    max_tokens: int = 128
    weight_decay: float = 0.01
    decay: Literal["linear", "cosine"] = "linear"
    warmup_share: float = 0.06
    clip_norm: float = 1.0
    eval_share: float = 0.05
    seed: int = 7

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
            patience_epochs=None,
        )


@dataclass(frozen=True)
class Places:
    """`folder`: what is made; `work`: checkpoints, deleted at the end."""

    folder: Path
    work: Path


class Training:
    """Rows, loss and evaluation of one run."""

    def __init__(self, base: Base, texts: Sequence[Row], recipe: Recipe, device: str) -> None:
        """Raises SourceError if too few texts are left on either side of the split."""
        self.recipe, self.device = recipe, device
        self.tokenizer = serving_tokenizer(base.tokenizer)
        self.vocabulary, text = vocabulary_of(self.tokenizer)
        kept, held_out = _parted(texts, recipe)
        self.rows = token_rows(text, [row.text for row in kept], recipe.max_tokens)
        self.held_out = token_rows(text, [row.text for row in held_out], recipe.max_tokens)
        if len(self.rows) < LEAST_ROWS or not self.held_out:
            raise SourceError(
                f"{len(self.rows)} texts to train on and {len(self.held_out)} held out are too few; give more texts"
            )
        torch.manual_seed(recipe.seed)
        self.model = LanguageModel(base.network.trunk).to(device)

    def runs(self, epoch: int) -> list[list[int]]:
        """An epoch's runs. A number tells row and epoch, since each epoch masks other tokens of a row."""
        rng = random.Random(self.recipe.seed * 1009 + epoch)  # noqa: S311 - the same draw every time
        runs = shuffled_runs([len(row) for row in self.rows], self.recipe.batch_texts, rng)
        return [[number + epoch * len(self.rows) for number in run] for run in runs]

    def loss(self, run: list[int]) -> Tensor:
        """Of one training run."""
        pairs = [(self.rows[number % len(self.rows)], (self.recipe.seed, number)) for number in run]
        return self._loss(pairs)

    @torch.inference_mode()
    def held_out_loss(self) -> float:
        """Mean over the held-out rows' runs, always with the same tokens masked."""
        self.model.eval()
        total = 0.0
        for run in runs_by_length([len(row) for row in self.held_out], self.recipe.batch_texts):
            loss = self._loss([(self.held_out[number], (self.recipe.seed, _HELD_OUT_SEED, number)) for number in run])
            total += float(loss) * len(run)
        return total / len(self.held_out)

    def _loss(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> Tensor:
        made = [masked(row, self.vocabulary, seed) for row, seed in pairs]
        ids, mask = padded([shown for shown, _ in made], self.vocabulary.pad_id)
        wanted, _ = padded([asked for _, asked in made], IGNORED)
        with autocast(self.device):
            loss: Tensor = self.model(ids.to(self.device), mask.to(self.device), wanted.to(self.device))
        return loss


def adapt(
    texts: Sequence[Row], tally: Tally, base: Base, recipe: Recipe, places: Places, *, say: Say, on_step: OnStep | None
) -> Path:
    """Trains, keeps the epoch with the least held-out loss, and writes the folder, which must not exist."""
    if places.folder.exists():
        raise ModelError(f"{places.folder}: exists; delete it or take another --name")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    training = Training(base, texts, recipe, device)
    n_rows = {"train_rows": len(training.rows), "held_out_rows": len(training.held_out)}
    say(f"{len(training.rows)} rows of up to {recipe.max_tokens} tokens to train on, {len(training.held_out)} held out")
    places.work.mkdir(parents=True, exist_ok=True)
    key = _fingerprint(training, recipe)
    checkpoint, history = places.work / f"{key}.pt", History(places.work / f"{key}.json")
    if 0 not in history.epochs:
        history.add(0, {"loss": training.held_out_loss()})
    before = history.epochs[0]["loss"]
    say(f"held out, before: loss {before:.4f}, perplexity {math.exp(before):.1f} (with untrained output weights)")

    def judged(epoch: int) -> float:
        loss = training.held_out_loss()
        history.add(epoch, {"loss": loss})
        say(f"epoch {epoch}: held-out loss {loss:.4f}, perplexity {math.exp(loss):.1f}")
        return -loss

    schedule = recipe.schedule()
    loop = Loop(
        training.model, groups(training.model, schedule), training.runs, training.loss,
        schedule=schedule, checkpoint=checkpoint, say=say, on_step=on_step,
    )  # fmt: skip
    outcome = loop.run(judged)
    after = -max(outcome.metrics)
    report = {
        "base": {"name": base.name, "weights": base.way},
        "data": {"cleaning": tally.as_json(), **n_rows},
        "hyperparameters": {**asdict(recipe), "device": device, "torch_threads": torch.get_num_threads()},
        "history": history.as_json(outcome, loop.ends),
        "held_out": {
            "before": _figures(before) | {"with": "untrained output weights"},
            "after": _figures(after),
        },
    }
    training.model.cpu()
    _write(places.folder, replace(base, tokenizer=training.tokenizer), report)
    for path in (checkpoint, history.path):
        path.unlink(missing_ok=True)
    return places.folder


def _write(folder: Path, base: Base, report: dict[str, Any]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    history = report["history"]
    curves = {"Loss of masked tokens": {"train": train_curve(history), "held out": epoch_curve(history, "loss")}}
    with tempfile.TemporaryDirectory(prefix=".", dir=folder.parent) as scratch:
        made = Path(scratch) / "base"
        made.mkdir()
        source = base.source.model_copy(update={"description": f"{base.source.description}, adapted to domain texts"})
        save_base(made, replace(base, name=folder.name, source=source), base.network)
        (made / REPORT_FILE).write_text(json.dumps(report, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        (made / CURVES_FILE).write_bytes(curves_png(curves, history["best_epoch"]))
        made.rename(folder)


def _parted(texts: Sequence[Row], recipe: Recipe) -> tuple[list[Row], list[Row]]:
    """Texts to train on and texts held out, near-duplicates on one side."""
    names = sorted({group(row) for row in texts})
    random.Random(recipe.seed).shuffle(names)  # noqa: S311 - the same draw every time
    held_out = set(names[: max(1, round(len(names) * recipe.eval_share))])
    parts: tuple[list[Row], list[Row]] = ([], [])
    for row in texts:
        parts[group(row) in held_out].append(row)
    return parts


def _figures(loss: float) -> dict[str, Any]:
    return {"loss": round(loss, 4), "perplexity": round(math.exp(loss), 2)}


def _fingerprint(training: Training, recipe: Recipe) -> str:
    digest = hashlib.sha256(json.dumps([asdict(recipe), training.rows, training.held_out]).encode())
    for name, tensor in sorted(training.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
