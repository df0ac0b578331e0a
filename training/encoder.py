"""The default model in torch: a BERT trunk whose one forward pass gives a sentence embedding and sentiment logits.

Shapes: B texts, T tokens, H hidden units. The trunk's first weights come from the reader in e5.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from training.e5 import EncoderWeights
from training.vocabulary import PAD_ID

N_SENTIMENTS = 2
_LAYER_NAMES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


class SentimentHead(nn.Module):
    """Two-layer perceptron on the first token's and the mean vector: [B, 2H] to logits [B, 2]."""

    def __init__(self, hidden: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.dense = nn.Linear(2 * hidden, hidden)
        self.out = nn.Linear(hidden, N_SENTIMENTS)
        self.dropout = nn.Dropout(dropout)

    def forward(self, first: Tensor, mean: Tensor) -> Tensor:
        """Logits of the two vectors, [B, H] each."""
        features = self.dropout(torch.cat([first, mean], dim=-1))
        logits: Tensor = self.out(self.dropout(torch.tanh(self.dense(features))))
        return logits


class Encoder(nn.Module):
    """Trunk and head. `forward` gives the L2-normalized mean embedding [B, H] and the logits [B, 2].

    `lower` and `upper` are the same pass in two halves, for training that keeps the first layers as they are.
    """

    def __init__(self, trunk: BertModel, head: SentimentHead) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = head

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Ids and mask [B, T] to embedding and logits."""
        return self.upper(self.lower(input_ids, attention_mask, 0), attention_mask, 0)

    def lower(self, input_ids: Tensor, attention_mask: Tensor, layers: int) -> Tensor:
        """Embeddings and the first `layers` layers: [B, T] to states [B, T, H]."""
        states: Tensor = self.trunk.embeddings(input_ids=input_ids)
        return self._through(states, attention_mask, 0, layers)

    def upper(self, states: Tensor, attention_mask: Tensor, layers: int) -> tuple[Tensor, Tensor]:
        """What comes after the first `layers` layers: states [B, T, H] to embedding and logits."""
        states = self._through(states, attention_mask, layers, len(self.trunk.encoder.layer)).float()
        mean = masked_mean(states, attention_mask)
        return nn.functional.normalize(mean, dim=-1), self.head(states[:, 0], mean)

    def _through(self, states: Tensor, attention_mask: Tensor, start: int, end: int) -> Tensor:
        visible = attention_mask[:, None, None, :].bool()
        for layer in self.trunk.encoder.layer[start:end]:
            states = layer(states, visible)
        return states


def masked_mean(states: Tensor, attention_mask: Tensor) -> Tensor:
    """Mean over real tokens: states [B, T, H], mask [B, T] to [B, H]."""
    weights = attention_mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1)


def from_weights(weights: EncoderWeights, ids: Sequence[int], max_tokens: int) -> Encoder:
    """The pretrained trunk with the embedding rows `ids` only, and an untrained head."""
    shape = weights.shape
    config = BertConfig(
        vocab_size=len(ids),
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.ffn,
        max_position_embeddings=max_tokens,
        type_vocab_size=shape.type_vocab,
        layer_norm_eps=shape.layer_norm_eps,
        pad_token_id=PAD_ID,
    )
    trunk = BertModel(config, add_pooling_layer=False)
    tensors = weights.tensors
    state = {
        "embeddings.word_embeddings.weight": tensors["emb.word"][np.asarray(ids)],
        "embeddings.position_embeddings.weight": tensors["emb.pos"].reshape(-1, shape.hidden)[:max_tokens],
        "embeddings.token_type_embeddings.weight": tensors["emb.type"].reshape(-1, shape.hidden),
        "embeddings.LayerNorm.weight": tensors["emb.ln.w"],
        "embeddings.LayerNorm.bias": tensors["emb.ln.b"],
    }
    for layer in range(shape.layers):
        for short, long in _LAYER_NAMES.items():
            for source, target in (("w", "weight"), ("b", "bias")):
                state[f"encoder.layer.{layer}.{long}.{target}"] = tensors[f"l{layer}.{short}.{source}"]
    trunk.load_state_dict({name: torch.from_numpy(np.array(values)) for name, values in state.items()})
    return Encoder(trunk, SentimentHead(shape.hidden))


def save(encoder: Encoder, folder: Path) -> None:
    """Writes `encoder.safetensors` and `config.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    encoder.trunk.config.to_json_file(folder / "config.json")
    save_file({k: v.contiguous() for k, v in encoder.state_dict().items()}, folder / "encoder.safetensors")


def load(folder: Path) -> Encoder:
    """Reads what `save` wrote; any missing or unexpected tensor raises RuntimeError and names it."""
    config = BertConfig.from_json_file(folder / "config.json")
    encoder = Encoder(BertModel(config, add_pooling_layer=False), SentimentHead(config.hidden_size))
    encoder.load_state_dict(load_file(folder / "encoder.safetensors"))
    return encoder
