"""A smaller network cut out of a larger one, as the starting point of a student.

Layers are taken at even distances, the first and the last among them (Sanh et al., "DistilBERT", 2019, takes every
second). Of a feed-forward block those units are kept that write most: the product of the lengths of their weights in
and out, a magnitude criterion after McCarley et al., "Structured Pruning of a BERT-based QA Model" (2019).
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn
from transformers import BertModel
from transformers.models.bert.modeling_bert import BertLayer

from training.network import Network


def even_layers(layers: int, kept: int) -> list[int]:
    """Numbers of `kept` of `layers` layers, from the first to the last. Raises ValueError if there are not so many."""
    if not 1 <= kept <= layers:
        raise ValueError(f"a network of {layers} layers cannot keep {kept}")
    return [layers - 1] if kept == 1 else [round(at * (layers - 1) / (kept - 1)) for at in range(kept)]


def shrink(network: Network, layers: int, ffn: int | None = None) -> Network:
    """A copy with fewer layers and, if given, feed-forward blocks of `ffn` units; the head is copied as it is."""
    config = copy.deepcopy(network.trunk.config)
    kept = even_layers(config.num_hidden_layers, layers)
    config.num_hidden_layers = layers
    config.intermediate_size = ffn or config.intermediate_size
    trunk = BertModel(config, add_pooling_layer=False)
    trunk.embeddings.load_state_dict(network.trunk.embeddings.state_dict())
    for at, number in enumerate(kept):
        layer = copy.deepcopy(network.trunk.encoder.layer[number])
        assert isinstance(layer, BertLayer)  # noqa: S101 - says what the list holds
        if ffn is not None:
            _keep_units(layer, ffn)
        trunk.encoder.layer[at].load_state_dict(layer.state_dict())
    return Network(trunk, copy.deepcopy(network.head))


def _keep_units(layer: BertLayer, ffn: int) -> None:
    inner, outer = layer.intermediate.dense, layer.output.dense
    assert isinstance(inner, nn.Linear) and isinstance(outer, nn.Linear)  # noqa: S101 - says what they are
    weight = inner.weight.detach().norm(dim=1) * outer.weight.detach().norm(dim=0)
    kept = torch.from_numpy(np.sort(weight.numpy().argsort()[::-1][:ffn].copy()))
    layer.intermediate.dense = _linear(inner.weight[kept], inner.bias[kept])
    layer.output.dense = _linear(outer.weight[:, kept], outer.bias)


def _linear(weight: torch.Tensor, bias: torch.Tensor) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    linear.load_state_dict({"weight": weight.detach(), "bias": bias.detach()})
    return linear
