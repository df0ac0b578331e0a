"""A checkpoint's folder read whole: network, tokenizer, labels, and what the model is for. Nothing is written.

`fenliu models import` makes a model folder of it, fine-tuning takes it as a base.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from schemas.errors import ModelError
from schemas.manifest import ModelKind
from schemas.names import Task
from training.importing import labels as label_sources
from training.importing.architecture import bert_config
from training.importing.checkpoint import read_tensors
from training.importing.folder import CheckpointFolder, open_folder
from training.importing.layouts import Layout, fill, layout_of
from training.importing.vocabulary import max_tokens_of, tokenizer_of
from training.network import HeadKind, Network, new_head

_ZERO_SHOT = "zero-shot-classification"
_NLI_LABELS = ("entailment", "neutral", "contradiction")
_PLACEHOLDER_LABELS = 2


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as Fenliu has it. `labels` in logit order, empty for one without a classifier (kind encoder).

    `tensors`: by transformers' names for BertForSequenceClassification, for who wants to check.
    """

    folder: CheckpointFolder
    network: Network
    config: BertConfig
    tokenizer: Tokenizer
    tokenizer_file: str
    kind: ModelKind
    task: Task
    labels: tuple[str, ...]
    entailment_index: int | None
    contradiction_index: int | None
    max_tokens: int
    digests: Mapping[str, str]
    tensors: Mapping[str, Tensor]
    notes: tuple[str, ...]
    """What a user should know of what was left out."""


def read_checkpoint(path: Path, task: Task | None = None) -> Checkpoint:
    """Read a folder of ModelScope or transformers; `task` None: as its files say.

    Raises ModelError that names the file, tensor or field at fault and says the fix.
    """
    folder = open_folder(path)
    config = bert_config(folder)
    tensors = read_tensors(path)
    layout = layout_of(tensors.by_name)
    tokenizer, tokenizer_file = tokenizer_of(folder, _embeddings(layout))
    network, notes = _network(config, layout)
    kind, labels = _purpose(folder, layout, task)
    entailment, contradiction = label_sources.nli_indexes(labels) if kind is ModelKind.NLI else (None, None)
    return Checkpoint(
        folder=folder,
        network=network,
        config=config,
        tokenizer=tokenizer,
        tokenizer_file=tokenizer_file,
        kind=kind,
        task=Task.SENTIMENT if kind is ModelKind.CLASSIFIER else Task.ROUTING,
        labels=labels,
        entailment_index=entailment,
        contradiction_index=contradiction,
        max_tokens=max_tokens_of(folder, config.max_position_embeddings),
        digests=tensors.digests,
        tensors=_transformers_names(layout),
        notes=notes,
    )


def _embeddings(layout: Layout) -> int:
    return int(layout.tensors["trunk.embeddings.word_embeddings.weight"].shape[0])


def _network(config: BertConfig, layout: Layout) -> tuple[Network, tuple[str, ...]]:
    kind = HeadKind.POOLER if layout.n_labels is not None or layout.has_pooler else HeadKind.MEAN
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = new_head(kind, config.hidden_size, layout.n_labels or _PLACEHOLDER_LABELS)
        network = Network(BertModel(config, add_pooling_layer=False), head)
    notes = []
    if layout.n_labels is None:
        nn.init.zeros_(network.head.out.weight)
        nn.init.zeros_(network.head.out.bias)
        notes.append("it has no classifier: it gives sentence embeddings, and can be trained on")
    if layout.pretraining:
        notes.append(f"the head of its pretraining is left out ({len(layout.pretraining)} tensors named cls.*)")
    fill(network, layout)
    return network.eval(), tuple(notes)


def _purpose(folder: CheckpointFolder, layout: Layout, task: Task | None) -> tuple[ModelKind, tuple[str, ...]]:
    """What the checkpoint is for, and its labels."""
    if layout.n_labels is None:
        if task is Task.SENTIMENT:
            raise ModelError(
                f"{folder.path}: has no classifier, so it cannot do sentiment; import a model fine-tuned for it, or "
                "fine-tune this one: fenliu train finetune --base FOLDER --data reviews.csv"
            )
        return ModelKind.ENCODER, ()
    if layout.n_labels == 1:
        raise ModelError(f"{folder.path}: its classifier has one logit (a regression); only classes can be imported")
    labels = label_sources.labels_of(folder, layout.n_labels)
    is_nli = _is_zero_shot(folder) or label_sources.looks_like_nli(labels) if task is None else task is Task.ROUTING
    if not is_nli:
        return ModelKind.CLASSIFIER, label_sources.required(folder, labels, layout.n_labels)
    if not labels and layout.n_labels == len(_NLI_LABELS):
        labels = _NLI_LABELS
    if max(label_sources.nli_indexes(labels)) >= layout.n_labels:
        raise ModelError(
            f"{folder.path}: routing by hypotheses needs logits of entailment and contradiction; the classifier has "
            f"{layout.n_labels} logits ({', '.join(labels) or 'unnamed'}). Import it with --task sentiment"
        )
    return ModelKind.NLI, labels


def _is_zero_shot(folder: CheckpointFolder) -> bool:
    pipeline = folder.configuration.get("pipeline")
    kind = pipeline.get("type") if isinstance(pipeline, Mapping) else None
    return _ZERO_SHOT in (folder.configuration.get("task"), kind)


def _transformers_names(layout: Layout) -> dict[str, Tensor]:
    places = (("trunk.", "bert."), ("head.dense.", "bert.pooler.dense."), ("head.out.", "classifier."))
    return {
        new + name.removeprefix(old): tensor
        for name, tensor in layout.tensors.items()
        for old, new in places
        if name.startswith(old)
    }
