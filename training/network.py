"""A text model in torch: a BERT trunk, and a head that makes logits of its states. What trains, trains it.

Shapes: B texts, T tokens, H hidden units, L labels. Reading checkpoints of other programs into one is
`training.importing`'s, writing it as ONNX `training.export`'s.
"""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import BertConfig, BertModel

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
_HEAD_KEY, _LABELS_KEY = "fenliu_head", "fenliu_n_labels"


class HeadKind(enum.StrEnum):
    """What a head reads."""

    POOLER = "pooler"
    MEAN = "mean"


class PoolerHead(nn.Module):
    """BERT's own: logits from tanh(dense(first token)); transformers' `bert.pooler.dense` and `classifier`."""

    def __init__(self, hidden: int, n_labels: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, n_labels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, first: Tensor, mean: Tensor) -> Tensor:  # noqa: ARG002 - heads are called alike
        """Logits [B, L] of the first token's state [B, H]."""
        logits: Tensor = self.out(self.dropout(torch.tanh(self.dense(first))))
        return logits


class MeanHead(nn.Module):
    """Fenliu's: a two-layer perceptron on the first token's and the mean state."""

    def __init__(self, hidden: int, n_labels: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.dense = nn.Linear(2 * hidden, hidden)
        self.out = nn.Linear(hidden, n_labels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, first: Tensor, mean: Tensor) -> Tensor:
        """Logits [B, L] of both states, [B, H] each."""
        features = self.dropout(torch.cat([first, mean], dim=-1))
        logits: Tensor = self.out(self.dropout(torch.tanh(self.dense(features))))
        return logits


Head = PoolerHead | MeanHead
_HEADS: dict[HeadKind, type[PoolerHead] | type[MeanHead]] = {HeadKind.POOLER: PoolerHead, HeadKind.MEAN: MeanHead}


@dataclass(frozen=True)
class Output:
    """`states` [B, T, H]; `embedding` [B, H], the mean over real tokens, of length 1; `logits` [B, L]."""

    states: Tensor
    embedding: Tensor
    logits: Tensor


class Network(nn.Module):
    """Trunk (without transformers' pooling layer) and head."""

    def __init__(self, trunk: BertModel, head: Head) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = head

    @property
    def n_labels(self) -> int:
        """L."""
        return self.head.out.out_features

    @property
    def hidden(self) -> int:
        """H."""
        return int(self.trunk.config.hidden_size)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Output:
        """Ids, mask and (for pairs) token types, each [B, T]."""
        states: Tensor = self.trunk.embeddings(input_ids=input_ids, token_type_ids=token_type_ids)
        visible = attention_mask[:, None, None, :].bool()
        for layer in self.trunk.encoder.layer:
            states = layer(states, visible)
        states = states.float()
        mean = masked_mean(states, attention_mask)
        return Output(states, nn.functional.normalize(mean, dim=-1), self.head(states[:, 0], mean))


def masked_mean(states: Tensor, attention_mask: Tensor) -> Tensor:
    """Mean over real tokens: states [B, T, H], mask [B, T] to [B, H]."""
    weights = attention_mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1)


def new_head(kind: HeadKind, hidden: int, n_labels: int) -> Head:
    """An untrained head."""
    return _HEADS[kind](hidden, n_labels)


def head_kind(head: Head) -> HeadKind:
    """The kind of a head."""
    return HeadKind.POOLER if isinstance(head, PoolerHead) else HeadKind.MEAN


def save(network: Network, folder: Path) -> None:
    """Writes `config.json` (BertConfig's fields, the head's kind and number of labels) and `model.safetensors`."""
    folder.mkdir(parents=True, exist_ok=True)
    config: dict[str, Any] = network.trunk.config.to_dict()
    config |= {_HEAD_KEY: head_kind(network.head).value, _LABELS_KEY: network.n_labels}
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2, sort_keys=True, default=str) + "\n", "utf-8")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    save_file(tensors, folder / WEIGHTS_FILE)


def load(folder: Path) -> Network:
    """Reads what `save` wrote; a missing or unexpected tensor raises RuntimeError that names it."""
    raw = json.loads((folder / CONFIG_FILE).read_text("utf-8"))
    kind, n_labels = HeadKind(raw.pop(_HEAD_KEY)), int(raw.pop(_LABELS_KEY))
    config = BertConfig.from_dict(raw)
    network = Network(BertModel(config, add_pooling_layer=False), new_head(kind, config.hidden_size, n_labels))
    network.load_state_dict(load_file(folder / WEIGHTS_FILE))
    return network
