"""The constants of a graph that Fenliu exported, as the float tensors that torch knows, in float or INT8 form.

`training.export` names constants after the network's own tensors; `training.quantize` gives them int8 weights [in, out]
with a scale per column and int8 tables with a scale per row. No torch here: what becomes of the tensors is decided
elsewhere.
"""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, numpy_helper

from schemas.errors import ModelError

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


class GraphConstants:
    """`spread`: whether what was rounded is spread evenly over its step, with the same noise each time, or stays."""

    def __init__(self, path: Path, model: ModelProto, *, spread: bool) -> None:
        self._path = path
        self._spread = spread
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        for node in model.graph.node:  # of equal constants the export keeps one, and calls the others its identity
            if node.op_type == "Identity" and node.input[0] in self._tensors:
                self._tensors[node.output[0]] = self._tensors[node.input[0]]
        self._activations = {
            node.input[1]: node.input[0] for node in model.graph.node if node.op_type == "MatMulIntegerToFloat"
        }

    @property
    def hidden(self) -> int:
        """Width of the trunk. Raises ModelError as `array`."""
        return int(self.array("trunk.positions").shape[1])

    def n_layers(self) -> int:
        """Layers of the trunk. Raises ModelError if they cannot be told."""
        found = {int(match[1]) for name in self._tensors if (match := re.match(r"trunk\.layers\.(\d+)\.", name))}
        if not found or found != set(range(len(found))):
            raise ModelError(f"{self._path}: is no graph that Fenliu exported: its layers cannot be told")
        return len(found)

    def state(self, trunk: str, heads: int) -> dict[str, Array]:
        """BERT's tensors under `trunk` and those of Fenliu's head under `head.`, as torch lays them out.

        `heads`: attention heads, which the constants do not tell. Raises ModelError that names what the graph lacks.
        """
        hidden = self.hidden
        types = self.array("trunk.types") if "trunk.types" in self._tensors else np.zeros((2, hidden), np.float32)
        state = {
            f"{trunk}.embeddings.word_embeddings.weight": self._table("trunk.words.weight"),
            f"{trunk}.embeddings.position_embeddings.weight": self.array("trunk.positions"),
            f"{trunk}.embeddings.token_type_embeddings.weight": types,
            f"{trunk}.embeddings.LayerNorm.weight": self.array("trunk.norm.weight"),
            f"{trunk}.embeddings.LayerNorm.bias": self.array("trunk.norm.bias"),
        }
        for layer in range(self.n_layers()):
            source, target = f"trunk.layers.{layer}", f"{trunk}.encoder.layer.{layer}"
            for part in _LAYER_PARTS:
                # The export folds attention's 1 / sqrt(width of a head) into the query.
                factor = np.float32((hidden // heads) ** 0.5 if part.endswith("query") else 1)
                bias = self.array(f"{source}.{part}.bias")
                state[f"{target}.{part}.weight"] = self._matrix(f"{source}.{part}.weight", len(bias)) * factor
                state[f"{target}.{part}.bias"] = bias * factor
            for name in (f"{part}.{kind}" for part in _NORMS for kind in ("weight", "bias")):
                state[f"{target}.{name}"] = self.array(f"{source}.{name}")
        for part in ("head.dense", "head.out"):
            bias = state[f"{part}.bias"] = self.array(f"{part}.bias")
            state[f"{part}.weight"] = self._matrix(f"{part}.weight", len(bias))
        return state

    def array(self, name: str) -> Array:
        """A constant as float32. Raises ModelError if the graph has none of that name."""
        if name not in self._tensors:
            raise ModelError(f"{self._path}: has no constant {name!r}; only graphs that Fenliu exported can be a base")
        values: Array = numpy_helper.to_array(self._tensors[name]).astype(np.float32)
        return values

    def _matrix(self, name: str, n_out: int) -> Array:
        """A layer's weights as torch has them, [out, in]."""
        if name in self._tensors:
            values = self.array(name)
            return values if len(values) == n_out else np.ascontiguousarray(values.T)
        weights = self._levels(name) * self.array(f"{name}.scale").reshape(1, -1)
        # Static scales: the activations' columns are multiplied by these factors, the matrix's rows divided.
        factors = self._activations.get(f"{name}.int8", "").removesuffix(".uint8") + ".inverse"
        if factors in self._tensors:
            weights = weights * self.array(factors).reshape(-1, 1)
        return np.ascontiguousarray(weights.T)

    def _table(self, name: str) -> Array:
        """An embedding table [rows, H]."""
        if name in self._tensors:
            return self.array(name)
        return self._levels(name) * self.array(f"{name}.scale").reshape(-1, 1)

    def _levels(self, name: str) -> Array:
        levels = self.array(f"{name}.int8")
        if not self._spread:
            return levels
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        return levels + rng.uniform(-0.5, 0.5, levels.shape).astype(np.float32)
