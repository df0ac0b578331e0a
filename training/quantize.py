"""Dynamic INT8 that does not depend on batch-mates, for any BERT-like ONNX graph.

Each MatMul or Gemm with a constant matrix becomes an integer product: activations are quantized per row (per token),
to uint8 around 128; weights per output column, to int8. Products that read the same tensor share one quantization.
Constant tables that Gather reads become int8 with one scale per row. What else the graph does stays in float.

onnxruntime's own dynamic quantization takes one scale for a whole tensor, so that a text's score depends on the texts
it happens to be grouped with; here it cannot. MatMulIntegerToFloat is onnxruntime's operator (com.microsoft): the
product, the cast and the weights' scales in one pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

QUANTIZATION = "int8-per-row"
ACTIVATION_ZERO_POINT = 128
ACTIVATION_LEVELS = 127.0
FLOOR = 1e-9
_RUNTIME_DOMAIN = "com.microsoft"


@dataclass(frozen=True)
class Quantization:
    """`weight_levels`: weights lie in -levels..levels. With 63, sums of two products fit the 16-bit steps of
    x86 processors without VNNI, so that every processor computes the same numbers; 127 is a bit finer."""

    weight_levels: int = 127
    min_matrix_elements: int = 4096
    min_table_elements: int = 1_000_000


def quantize(model: ModelProto, settings: Quantization | None = None) -> ModelProto:
    """A quantized copy of an FP32 graph."""
    rewriter = _Rewriter(model, settings or Quantization())
    return rewriter.result()


def quantized_columns(
    matrix: npt.NDArray[np.float32], levels: int
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """int8 [K, N] and scales [N] of a float matrix [K, N]."""
    scale = np.maximum(np.abs(matrix).max(axis=0) / levels, FLOOR).astype(np.float32)
    return np.clip(np.rint(matrix / scale), -levels, levels).astype(np.int8), scale


class _Rewriter:
    def __init__(self, model: ModelProto, settings: Quantization) -> None:
        self.settings = settings
        self.model = ModelProto()
        self.model.CopyFrom(model)
        self.graph = self.model.graph
        self.constants = {tensor.name: tensor for tensor in self.graph.initializer}
        self.shared: dict[str, tuple[str, str]] = {}
        self.nodes: list[NodeProto] = []
        self.added: set[str] = set()

    def result(self) -> ModelProto:
        for node in list(self.graph.node):
            if node.op_type in ("MatMul", "Gemm") and self._is_matrix_product(node):
                self._product(node)
            elif node.op_type == "Gather" and self._is_table(node):
                self._table(node)
            else:
                self.nodes.append(node)
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        self._drop_unused_constants()
        if not any(opset.domain == _RUNTIME_DOMAIN for opset in self.model.opset_import):
            self.model.opset_import.append(helper.make_opsetid(_RUNTIME_DOMAIN, 1))
        return self.model

    def _is_matrix_product(self, node: NodeProto) -> bool:
        tensor = self.constants.get(node.input[1])
        if tensor is None or len(tensor.dims) != 2 or tensor.data_type != TensorProto.FLOAT:
            return False
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        plain = attributes.get("alpha", 1.0) == 1.0 and attributes.get("beta", 1.0) == 1.0
        return plain and not attributes.get("transA", 0) and _elements(tensor) >= self.settings.min_matrix_elements

    def _is_table(self, node: NodeProto) -> bool:
        tensor = self.constants.get(node.input[0])
        axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
        return (
            tensor is not None
            and axis == 0
            and len(tensor.dims) == 2
            and tensor.data_type == TensorProto.FLOAT
            and _elements(tensor) >= self.settings.min_table_elements
        )

    def _product(self, node: NodeProto) -> None:
        name, output = node.input[1], node.output[0]
        matrix = numpy_helper.to_array(self.constants[name])
        transposed = any(a.name == "transB" and a.i for a in node.attribute)
        weights, scale = quantized_columns(matrix.T if transposed else matrix, self.settings.weight_levels)
        self._constant(f"{name}.int8", weights)
        self._constant(f"{name}.scale", scale)
        self._constant(f"{name}.zero", np.zeros(scale.shape, np.int8))
        quantized, row_scale = self._quantized_rows(node.input[0])
        bias = node.input[2] if len(node.input) > 2 and node.input[2] else None
        scaled = f"{output}.scaled" if bias else output
        self._node(
            "MatMulIntegerToFloat",
            [quantized, f"{name}.int8", self._one(), f"{name}.scale", self._zero_point(), f"{name}.zero"],
            f"{output}.product",
            domain=_RUNTIME_DOMAIN,
        )
        self._node("Mul", [f"{output}.product", row_scale], scaled)
        if bias:
            self._node("Add", [scaled, bias], output)

    def _quantized_rows(self, tensor: str) -> tuple[str, str]:
        """Names of uint8 rows and of their scales [..., 1]; made once per tensor."""
        if tensor in self.shared:
            return self.shared[tensor]
        axis = self._constant("quantize.last_axis", np.array([-1], np.int64))
        floor = self._constant("quantize.floor", np.array(FLOOR, np.float32))
        levels = self._constant("quantize.levels", np.array(ACTIVATION_LEVELS, np.float32))
        self._node("Abs", [tensor], f"{tensor}.abs")
        self._node("ReduceMax", [f"{tensor}.abs", axis], f"{tensor}.largest", keepdims=1)
        self._node("Max", [f"{tensor}.largest", floor], f"{tensor}.range")
        self._node("Div", [f"{tensor}.range", levels], f"{tensor}.scale")
        self._node("Div", [levels, f"{tensor}.range"], f"{tensor}.inverse")
        self._node("Mul", [tensor, f"{tensor}.inverse"], f"{tensor}.levels")
        # With a scale of one this rounds, shifts, clips and casts in a single pass.
        self._node("QuantizeLinear", [f"{tensor}.levels", self._unit(), self._zero_point()], f"{tensor}.uint8")
        self.shared[tensor] = (f"{tensor}.uint8", f"{tensor}.scale")
        return self.shared[tensor]

    def _table(self, node: NodeProto) -> None:
        name, ids, output = node.input[0], node.input[1], node.output[0]
        table = numpy_helper.to_array(self.constants[name])
        rows, scale = quantized_columns(np.ascontiguousarray(table.T), 127)
        self._constant(f"{name}.int8", np.ascontiguousarray(rows.T))
        self._constant(f"{name}.scale", scale[:, None])
        self._node("Gather", [f"{name}.int8", ids], f"{output}.int8", axis=0)
        self._node("Gather", [f"{name}.scale", ids], f"{output}.scale", axis=0)
        self._node("Cast", [f"{output}.int8"], f"{output}.float", to=TensorProto.FLOAT)
        self._node("Mul", [f"{output}.float", f"{output}.scale"], output)

    def _one(self) -> str:
        return self._constant("quantize.one_scale", np.array([1.0], np.float32))

    def _unit(self) -> str:
        return self._constant("quantize.unit", np.array(1.0, np.float32))

    def _zero_point(self) -> str:
        return self._constant("quantize.zero_point", np.array(ACTIVATION_ZERO_POINT, np.uint8))

    def _node(self, op_type: str, inputs: Sequence[str], output: str, domain: str = "", **attributes: Any) -> None:
        self.nodes.append(helper.make_node(op_type, list(inputs), [output], name=output, domain=domain, **attributes))

    def _constant(self, name: str, values: npt.NDArray[np.generic]) -> str:
        if name not in self.added:
            self.added.add(name)
            self.graph.initializer.append(numpy_helper.from_array(values, name))
        return name

    def _drop_unused_constants(self) -> None:
        used = {name for node in self.graph.node for name in node.input}
        kept = [tensor for tensor in self.graph.initializer if tensor.name in used]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)


def _elements(tensor: TensorProto) -> int:
    return int(np.prod(tensor.dims))


def size_bytes(model: onnx.ModelProto) -> int:
    """Bytes of the serialized graph."""
    return int(model.ByteSize())
