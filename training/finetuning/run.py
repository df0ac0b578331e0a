"""One fine-tuning run: from prepared data and a base to a published, calibrated, measured model folder.

A run that was killed goes on from its checkpoint when it is started again with the same data, base and recipe.
"""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers.models.bert.modeling_bert import BertSelfAttention

from schemas.manifest import TOKENIZER_FILE, ModelKind, Source
from schemas.names import Task
from training import agreement
from training.bases import Base, token_limit, with_labels
from training.batches import autocast, outputs, padded, shuffled_runs
from training.classification_report import macro_f1
from training.cleaning import serving_tokenizer
from training.finetuning.data import Data
from training.finetuning.judgement import Judge
from training.finetuning.recipe import Recipe
from training.history import History
from training.loop import Loop, OnStep, Say, groups
from training.network import Network
from training.publish import Draft, publish

MOST_CHECK_TEXTS = 200


@dataclass(frozen=True)
class Places:
    """`models`: where `<name>/<version>/` goes; `work`: checkpoints, deleted when the model is published."""

    name: str
    models: Path
    work: Path


def fine_tune(
    data: Data, base: Base, recipe: Recipe, places: Places, *, say: Say, on_step: OnStep | None = None
) -> Path:
    """Trains, keeps the epoch with the best macro-F1 on the eval part, publishes it, and returns its folder.

    Raises DivergedError if the loss becomes infinite, ModelError if the result is no valid model.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = with_labels(base, data.labels, recipe.seed)
    tokenizer = serving_tokenizer(base.tokenizer)
    max_tokens = token_limit(base, recipe.max_tokens)
    places.work.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(places.work / TOKENIZER_FILE))
    training = Training(model, places.work / TOKENIZER_FILE, data, recipe, max_tokens=max_tokens, device=device)
    key = fingerprint(model, tokenizer, data, recipe)
    checkpoint, history = places.work / f"{key}.pt", History(places.work / f"{key}.json")
    for other in places.work.glob("*.pt"):
        if other != checkpoint:
            say(f"{other} is the checkpoint of other data, another base or another recipe: left alone")
    loop = training.loop(checkpoint, say, on_step)
    outcome = loop.run(lambda epoch: training.judged(epoch, history, say))
    if outcome.stopped_early:
        say(f"stopped early: macro-F1 has not risen for {recipe.patience_epochs} epochs")
    say(f"epoch {outcome.best_epoch} is kept")
    model = model.cpu()
    settings = {**asdict(recipe), "max_tokens": max_tokens, "device": device, "torch_threads": torch.get_num_threads()}
    made = {
        "base": {"name": base.name, "weights": base.way},
        "data": data.as_json() | {"cut_share": training.cut_share()},
        "hyperparameters": settings,
        "history": history.as_json(outcome, loop.ends),
    }
    judge = Judge(data, made, seed=recipe.seed, say=say)
    folder = publish(
        model,
        places.work / TOKENIZER_FILE,
        draft(places.name, data, base, max_tokens),
        precision=recipe.precision,
        models=places.models,
        check_texts=[row.text for row in data.split.eval[:MOST_CHECK_TEXTS]],
        say=say,
        finish=judge.finish,
    )
    for path in (checkpoint, history.path, places.work / TOKENIZER_FILE):
        path.unlink(missing_ok=True)
    return folder


class Training:
    """Token rows, loss and evaluation of one run."""

    def __init__(
        self, model: Network, tokenizer_json: Path, data: Data, recipe: Recipe, *, max_tokens: int, device: str
    ) -> None:
        self.model = model.to(device)
        self.recipe, self.device, self.max_tokens = recipe, device, max_tokens
        self.pad_id = int(model.trunk.config.pad_token_id or 0)
        train, kept = data.split.train, data.split.eval
        self.rows = token_rows(tokenizer_json, [row.text for row in train], max_tokens)
        self.eval_rows = token_rows(tokenizer_json, [row.text for row in kept], max_tokens)
        self.labels = torch.tensor(data.numbers(train), device=device)
        self.eval_labels = np.array(data.numbers(kept))
        self.weights = self._class_weights(len(data.labels))
        # Dropout of attention weights would double a step's time on a CPU.
        for module in model.trunk.modules():
            if isinstance(module, BertSelfAttention):
                module.dropout.p = 0.0

    def loop(self, checkpoint: Path, say: Say, on_step: OnStep | None) -> Loop:
        """Ready to run."""
        schedule = self.recipe.schedule()
        parameters = groups(self.model, schedule)
        return Loop(
            self.model, parameters, self._runs, self._loss, schedule=schedule, checkpoint=checkpoint, say=say,
            on_step=on_step,
        )  # fmt: skip

    def judged(self, epoch: int, history: History, say: Say) -> float:
        """Macro-F1 on the eval part after an epoch."""
        _, logits = outputs(self.model, self.eval_rows, self.recipe.batch_texts, self.device)
        found = logits.argmax(axis=1)
        loss = float(nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(self.eval_labels)))
        score = macro_f1(self.eval_labels, found)
        accuracy = float((found == self.eval_labels).mean())
        history.add(epoch, {"loss": loss, "accuracy": accuracy, "macro_f1": score})
        say(f"epoch {epoch}: eval loss {loss:.4f} accuracy {accuracy:.4f} macro-F1 {score:.4f}")
        return score

    def cut_share(self) -> float:
        """Share of the train texts that were cut at `max_tokens`."""
        return round(sum(len(row) >= self.max_tokens for row in self.rows) / len(self.rows), 4)

    def _runs(self, epoch: int) -> list[list[int]]:
        rng = random.Random(self.recipe.seed * 1009 + epoch)  # noqa: S311 - the same draw every time
        return shuffled_runs([len(row) for row in self.rows], self.recipe.batch_texts, rng)

    def _loss(self, run: list[int]) -> Tensor:
        ids, mask = padded([self.rows[number] for number in run], self.pad_id)
        with autocast(self.device):
            output = self.model(ids.to(self.device), mask.to(self.device))
        return nn.functional.cross_entropy(
            output.logits.float(), self.labels[run], weight=self.weights, label_smoothing=self.recipe.label_smoothing
        )

    def _class_weights(self, n_labels: int) -> Tensor | None:
        """Inverse to how often a class occurs, 1 on average over the texts."""
        if self.recipe.class_weights == "none":
            return None
        counts = torch.bincount(self.labels, minlength=n_labels)
        return len(self.labels) / (n_labels * counts.float())


def token_rows(tokenizer_json: Path, texts: list[str], max_tokens: int) -> list[list[int]]:
    """Texts as the worker reads them, but that their ends are cut off: special tokens that a user typed are text."""
    return [row.ids.tolist() for row in agreement.rows(tokenizer_json, texts, max_tokens, pairs=False)]


def draft(name: str, data: Data, base: Base, max_tokens: int) -> Draft:
    """A classifier and nothing else: fine-tuning bends the embedding that routing would need."""
    texts = len(data.split.train)
    source = Source(
        description=f"Fine-tuned from {base.name} ({base.source.description}) on {texts} labelled texts",
        licence=base.source.licence,
        url=base.source.url,
    )
    return Draft(
        name=name,
        kind=(ModelKind.CLASSIFIER,),
        tasks=(Task.SENTIMENT,),
        labels=data.labels,
        max_tokens=max_tokens,
        source=source,
        licence=base.source.licence,
    )


def fingerprint(model: Network, tokenizer: Tokenizer, data: Data, recipe: Recipe) -> str:
    """What a checkpoint must match to be gone on from."""
    digest = hashlib.sha256(data.fingerprint().encode())
    digest.update(json.dumps(asdict(recipe), sort_keys=True).encode())
    digest.update(tokenizer.to_str().encode())
    for name, tensor in sorted(model.trunk.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
