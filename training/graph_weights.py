"""The weights of a Fenliu graph back as a network to train on: for models that are shipped without their `torch/`.

Reads the constants that `training.export` names after the network's own tensors, in float or in the INT8 form that
`training.quantize` gives them: int8 weights [in, out] with a scale per column, int8 tables with a scale per row.

What was rounded is spread evenly over the step it was rounded in (dither, Roberts 1962). Left on the levels, weights
would be rounded back to them after training: fine-tuning moves a weight by a fraction of a step, and all it learned
would be lost in INT8. So the network's logits are close to the graph's, not equal; the noise is the same each time.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import ModelProto, numpy_helper
from transformers import BertConfig, BertModel

from schemas.errors import ModelError
from training.network import HeadKind, Network, new_head

Array = npt.NDArray[np.float32]
_LAYER_PARTS = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
)
_NORMS = ("attention.output.LayerNorm", "output.LayerNorm")
_DEFAULT_EPSILON = 1e-12


def read_network(path: Path, pad_id: int) -> Network:
    """The network of `model.onnx`. Raises ModelError that names what the graph lacks."""
    try:
        model = onnx.load(path)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}") from error
    activations = {node.input[1]: node.input[0] for node in model.graph.node if node.op_type == "MatMulIntegerToFloat"}
    constants = _Constants(path, _tensors(model), activations)
    words = constants.table("trunk.words.weight")
    hidden = words.shape[1]
    positions = constants.array("trunk.positions")
    types = constants.array("trunk.types") if "trunk.types" in constants.tensors else np.zeros((2, hidden), np.float32)
    layers = _n_layers(constants.tensors)
    heads = _n_heads(model, hidden)
    if not layers or not heads:
        raise ModelError(f"{path}: is no graph that Fenliu exported: its layers or attention heads cannot be told")
    state = {
        "trunk.embeddings.word_embeddings.weight": words,
        "trunk.embeddings.position_embeddings.weight": positions,
        "trunk.embeddings.token_type_embeddings.weight": types,
        "trunk.embeddings.LayerNorm.weight": constants.array("trunk.norm.weight"),
        "trunk.embeddings.LayerNorm.bias": constants.array("trunk.norm.bias"),
    }
    for layer in range(layers):
        for part in _LAYER_PARTS:
            source, target = f"trunk.layers.{layer}.{part}", f"trunk.encoder.layer.{layer}.{part}"
            # The export folds attention's 1 / sqrt(width of a head) into the query.
            factor = np.float32((hidden // heads) ** 0.5) if part.endswith("query") else np.float32(1)
            bias = constants.array(f"{source}.bias")
            state[f"{target}.weight"] = constants.matrix(f"{source}.weight", len(bias)) * factor
            state[f"{target}.bias"] = bias * factor
        for part in _NORMS:
            for name in ("weight", "bias"):
                state[f"trunk.encoder.layer.{layer}.{part}.{name}"] = constants.array(
                    f"trunk.layers.{layer}.{part}.{name}"
                )
    for part in ("dense", "out"):
        state[f"head.{part}.bias"] = constants.array(f"head.{part}.bias")
        state[f"head.{part}.weight"] = constants.matrix(f"head.{part}.weight", len(state[f"head.{part}.bias"]))
    inner = len(state["trunk.encoder.layer.0.intermediate.dense.bias"])
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=hidden,
        num_hidden_layers=layers,
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


class _Constants:
    def __init__(self, path: Path, tensors: Mapping[str, onnx.TensorProto], activations: Mapping[str, str]) -> None:
        self.path = path
        self.tensors = tensors
        self.activations = activations
        """What an INT8 matrix is multiplied with, by the matrix's name."""

    def array(self, name: str) -> Array:
        """A constant as float32. Raises ModelError if the graph has none of that name."""
        if name not in self.tensors:
            raise ModelError(f"{self.path}: has no constant {name!r}; only graphs that Fenliu exported can be a base")
        values: Array = numpy_helper.to_array(self.tensors[name]).astype(np.float32)
        return values

    def matrix(self, name: str, n_out: int) -> Array:
        """A layer's weights as torch has them, [out, in]."""
        if name in self.tensors:
            values = self.array(name)
            return values if len(values) == n_out else np.ascontiguousarray(values.T)
        weights = self._spread(name, (1, -1))
        # Static scales: the activations' columns are multiplied by these factors, the matrix's rows divided.
        factors = self.activations.get(f"{name}.int8", "").removesuffix(".uint8") + ".inverse"
        if factors in self.tensors:
            weights = weights * self.array(factors).reshape(-1, 1)
        return np.ascontiguousarray(weights.T)

    def table(self, name: str) -> Array:
        """An embedding table [rows, H]."""
        if name in self.tensors:
            return self.array(name)
        return self._spread(name, (-1, 1))

    def _spread(self, name: str, shape: tuple[int, int]) -> Array:
        """INT8 levels as weights, each anywhere in its step; `shape` is that of the scales."""
        levels, scale = self.array(f"{name}.int8"), self.array(f"{name}.scale").reshape(shape)
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        spread: Array = (levels + rng.uniform(-0.5, 0.5, levels.shape).astype(np.float32)) * scale
        return spread


def _tensors(model: ModelProto) -> dict[str, onnx.TensorProto]:
    """Constants by name. Of equal ones the export keeps one, and calls the others its identity."""
    found = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Identity" and node.input[0] in found:
            found[node.output[0]] = found[node.input[0]]
    return found


def _n_layers(names: Iterable[str]) -> int:
    found = {int(match[1]) for name in names if (match := re.match(r"trunk\.layers\.(\d+)\.", name))}
    return len(found) if found == set(range(len(found))) else 0


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
