"""The shipped INT8 graph's weights as floats under the names that transformers gives a BERT's: for peers in PyTorch.

Each matrix is its int8 levels times its columns' scales, and times the factors that smoothing moved into it; the export
folds attention's 1 / sqrt(width of a head) into the query, which is taken out again. Nothing else is changed, so the
logits differ from the graph's only by what rounding activations does. (`training.graph_weights` reads the same
constants to train on from, and spreads the levels with noise; a comparison wants them as they are.)
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from schemas.errors import ModelError

Array = npt.NDArray[np.float32]
_PRODUCTS = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
)
_NORMS = ("attention.output.LayerNorm", "output.LayerNorm")


def float_weights(path: Path, heads: int) -> dict[str, Array]:
    """Tensors of BERT's trunk under `bert.` and of Fenliu's head under `head.`, as torch lays them out.

    `heads`: attention heads, which the constants do not tell. Raises ModelError that names what the graph lacks.
    """
    constants = _Constants(path)
    words = constants.table("trunk.words.weight")
    hidden = words.shape[1]
    found = {
        "bert.embeddings.word_embeddings.weight": words,
        "bert.embeddings.position_embeddings.weight": constants.array("trunk.positions"),
        "bert.embeddings.token_type_embeddings.weight": np.zeros((2, hidden), np.float32),
        "bert.embeddings.LayerNorm.weight": constants.array("trunk.norm.weight"),
        "bert.embeddings.LayerNorm.bias": constants.array("trunk.norm.bias"),
    }
    for layer in sorted(constants.layers()):
        for part in _PRODUCTS:
            factor = np.float32((hidden / heads) ** 0.5 if part.endswith("query") else 1.0)
            source, target = f"trunk.layers.{layer}.{part}", f"bert.encoder.layer.{layer}.{part}"
            found[f"{target}.bias"] = constants.array(f"{source}.bias") * factor
            found[f"{target}.weight"] = constants.matrix(f"{source}.weight", len(found[f"{target}.bias"])) * factor
        for name in (f"{part}.{kind}" for part in _NORMS for kind in ("weight", "bias")):
            found[f"bert.encoder.layer.{layer}.{name}"] = constants.array(f"trunk.layers.{layer}.{name}")
    for part in ("dense", "out"):
        found[f"head.{part}.bias"] = constants.array(f"head.{part}.bias")
        found[f"head.{part}.weight"] = constants.matrix(f"head.{part}.weight", len(found[f"head.{part}.bias"]))
    return found


def bert_sizes(weights: dict[str, Array], heads: int) -> dict[str, Any]:
    """The sizes that a BertConfig wants for these tensors."""
    words, positions = (weights[f"bert.embeddings.{name}_embeddings.weight"] for name in ("word", "position"))
    layers = {name.split(".")[3] for name in weights if name.startswith("bert.encoder.layer.")}
    return {
        "vocab_size": len(words),
        "hidden_size": words.shape[1],
        "num_hidden_layers": len(layers),
        "num_attention_heads": heads,
        "intermediate_size": len(weights["bert.encoder.layer.0.intermediate.dense.bias"]),
        "max_position_embeddings": len(positions),
    }


class _Constants:
    def __init__(self, path: Path) -> None:
        graph = onnx.load(path).graph
        self._path = path
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:  # of equal constants the export keeps one, and calls the others its identity
            if node.op_type == "Identity" and node.input[0] in self._tensors:
                self._tensors[node.output[0]] = self._tensors[node.input[0]]
        self._read = {node.input[1]: node.input[0] for node in graph.node if len(node.input) > 1}

    def layers(self) -> set[int]:
        found = {int(match[1]) for name in self._tensors if (match := re.match(r"trunk\.layers\.(\d+)\.", name))}
        if not found:
            raise ModelError(f"{self._path}: has no constants named trunk.layers.0…; only Fenliu's own graphs have")
        return found

    def array(self, name: str) -> Array:
        if name not in self._tensors:
            raise ModelError(f"{self._path}: has no constant {name!r}")
        values: Array = numpy_helper.to_array(self._tensors[name]).astype(np.float32)
        return values

    def matrix(self, name: str, n_out: int) -> Array:
        if name in self._tensors:
            values = self.array(name)
            return values if len(values) == n_out else np.ascontiguousarray(values.T)
        weights = self.array(f"{name}.int8") * self.array(f"{name}.scale").reshape(1, -1)
        factors = self._read.get(f"{name}.int8", "").removesuffix(".uint8") + ".inverse"
        if factors in self._tensors:
            weights = weights * self.array(factors).reshape(-1, 1)
        return np.ascontiguousarray(weights.T)

    def table(self, name: str) -> Array:
        if name in self._tensors:
            return self.array(name)
        return self.array(f"{name}.int8") * self.array(f"{name}.scale").reshape(-1, 1)
