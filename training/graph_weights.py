"""The weights of a Fenliu graph back as a network to train on: for models that are shipped without their `torch/`.

What was rounded is spread evenly over the step it was rounded in (dither, Roberts 1962). Left on the levels, weights
would be rounded back to them after training: fine-tuning moves a weight by a fraction of a step, and all it learned
would be lost in INT8. So the network's logits are close to the graph's, not equal; the noise is the same each time.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import ModelProto, numpy_helper
from transformers import BertConfig, BertModel

from schemas.errors import ModelError
from training.graph_constants import GraphConstants
from training.network import HeadKind, Network, new_head

_DEFAULT_EPSILON = 1e-12


def read_network(path: Path, pad_id: int) -> Network:
    """The network of `model.onnx`. Raises ModelError that names what the graph lacks."""
    try:
        model = onnx.load(path)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}") from error
    constants = GraphConstants(path, model, spread=True)
    heads = _n_heads(model, constants.hidden)
    if not heads:
        raise ModelError(f"{path}: is no graph that Fenliu exported: its attention heads cannot be told")
    state = constants.state("trunk", heads)
    words, positions, types = (
        state[f"trunk.embeddings.{name}_embeddings.weight"] for name in ("word", "position", "token_type")
    )
    hidden = constants.hidden
    inner = len(state["trunk.encoder.layer.0.intermediate.dense.bias"])
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=hidden,
        num_hidden_layers=constants.n_layers(),
        num_attention_heads=heads,
        intermediate_size=inner,
        max_position_embeddings=len(positions),
        type_vocab_size=len(types),
        layer_norm_eps=_epsilon(model),
        pad_token_id=pad_id,
    )
    kind = HeadKind.MEAN if state["head.dense.weight"].shape[1] == 2 * hidden else HeadKind.POOLER
    head = new_head(kind, hidden, len(state["head.out.bias"]))
    network = Network(BertModel(config, add_pooling_layer=False), head)
    network.load_state_dict({name: torch.from_numpy(np.array(values)) for name, values in state.items()})
    return network


def _n_heads(model: ModelProto, hidden: int) -> int:
    """Attention heads, from the shape [B, T, heads, width] that queries, keys and values are brought into."""
    values = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            values[node.output[0]] = node.attribute[0].t
    for node in model.graph.node:
        # A shape is one constant, or put together from parts whose last two are constants.
        parts = {"Reshape": node.input[1:2], "Concat": node.input[-2:]}.get(node.op_type, [])
        if not parts or any(name not in values for name in parts):
            continue
        shape = [int(n) for name in parts for n in numpy_helper.to_array(values[name]).reshape(-1)]
        if len(shape) >= 2 and min(shape[-2:]) > 0 and shape[-2] * shape[-1] == hidden:
            return shape[-2]
    return 0


def _epsilon(model: ModelProto) -> float:
    for node in model.graph.node:
        if node.op_type in ("LayerNormalization", "SkipLayerNormalization"):
            found = next((a.f for a in node.attribute if a.name == "epsilon"), _DEFAULT_EPSILON)
            return float(f"{found:.6g}")  # 1e-12, which float32 does not hold exactly
    return _DEFAULT_EPSILON
