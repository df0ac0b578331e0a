"""INT8 that does not depend on batch-mates, for any BERT-like ONNX graph.

Each MatMul or Gemm with a constant matrix becomes an integer product: weights as int8 with a scale per output column,
activations as uint8 around 128, products that read one tensor from one quantization of it. Where the activations'
scale comes from decides the speed (docs/quantization.md):

- static: one scale per tensor, from calibration texts. One pass quantizes, and onnxruntime's MatMulIntegerToFloat does
  product, scales and bias in another. Columns that are much larger than the rest would leave the others few steps, so
  the columns of what LayerNormalization gives are divided by factors that go into the weights (SmoothQuant, arXiv
  2211.10438).
- per row (per token), from the row itself: for what GELU gives, whose few huge values no factor tames, for a tensor
  whose rows differ too much for one scale, and for everything when there are no calibration texts.

Neither looks at another row, so a text's scores do not depend on the texts it is grouped with, as they do with
onnxruntime's own dynamic quantization (one scale per tensor, from the batch at hand). Constant tables that Gather reads
become int8 with one scale per row. What else the graph does stays in float, and is made faster by
`training.graph_passes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from training.activation_ranges import Feed, observe, row_ranges
from training.graph_edit import MICROSOFT, GraphEdit
from training.graph_passes import improved
from training.rounding import compensated, nearest

QUANTIZATION = "int8-per-row"
STATIC_QUANTIZATION = "int8-static"
"""What manifests call the form without calibration texts and the one with them."""
ACTIVATION_ZERO_POINT = 128
ACTIVATION_LEVELS = 127.0
FLOOR = 1e-9
_LOWEST_GELU = 0.17
_NORMS = ("LayerNormalization", "SkipLayerNormalization")
# Row forms need no pass for the sizes of negative values: there are none, or none beyond the floor.
_POSITIVE = {"Gelu": _LOWEST_GELU, "FastGelu": _LOWEST_GELU, "Relu": FLOOR, "Sigmoid": FLOOR}

Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Quantization:
    """`weight_levels`: weights lie in -levels..levels. With 63, sums of two products fit the 16-bit steps of
    x86 processors without VNNI, so that every processor computes the same numbers; 127 is a bit finer and as fast.

    With calibration texts: `smoothing`, the exponent of SmoothQuant, 0 for none; `headroom`, how many times the largest
    value seen still fits; `most_spread`, how many times the median row's largest value a static scale may cover: above
    it rows get their own; `compensate`: round weights by `training.rounding.compensated`.
    """

    weight_levels: int = 63
    smoothing: float = 0.6
    headroom: float = 1.05
    most_spread: float = 12.0
    compensate: bool = True
    improve: bool = True
    min_matrix_elements: int = 4096
    min_table_elements: int = 1_000_000


def quantize(
    model: ModelProto, settings: Quantization | None = None, calibration: Sequence[Feed] | None = None
) -> ModelProto:
    """A quantized copy of an FP32 graph; `calibration`: a hundred texts or more like those to come, no test texts."""
    settings = settings or Quantization()
    quantized = _Rewriter(model, settings, calibration or ()).result()
    return improved(quantized, calibration or ()) if settings.improve else quantized


def column_scales(matrix: Matrix, levels: int) -> Matrix:
    """Scales [N] with which a float matrix [K, N] fits -levels..levels."""
    scales: Matrix = np.maximum(np.abs(matrix).max(axis=0) / levels, FLOOR).astype(np.float32)
    return scales


@dataclass(frozen=True)
class _Quantized:
    """A quantized tensor: `values` names its uint8, `rows` the scales of its rows [..., 1] unless one is for all."""

    values: str
    rows: str | None = None


class _Rewriter:
    def __init__(self, model: ModelProto, settings: Quantization, calibration: Sequence[Feed]) -> None:
        self.settings = settings
        self.edit = GraphEdit(model)
        readers: dict[str, list[NodeProto]] = {}
        for node in self.edit.old_nodes:
            if self._is_matrix_product(node):
                readers.setdefault(node.input[0], []).append(node)
        self.products = {node.output[0] for nodes in readers.values() for node in nodes}
        self.grams: dict[str, Matrix] = {}
        self.divisors: dict[str, Matrix] = {}
        self.scales: dict[str, float] = {}
        if calibration and readers:
            self._calibrate(model, readers, calibration)
        self.shared: dict[str, _Quantized] = {}

    def result(self) -> ModelProto:
        for node in self.edit.old_nodes:
            if node.output[0] in self.products:
                self._product(node)
            elif node.op_type == "Gather" and self._is_table(node):
                self._table(node)
            else:
                self.edit.keep(node)
        return self.edit.result()

    def _is_matrix_product(self, node: NodeProto) -> bool:
        tensor = self.edit.constant(node.input[1]) if node.op_type in ("MatMul", "Gemm") else None
        if tensor is None or len(tensor.dims) != 2 or tensor.data_type != TensorProto.FLOAT:
            return False
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        plain = attributes.get("alpha", 1.0) == 1.0 and attributes.get("beta", 1.0) == 1.0
        return plain and not attributes.get("transA", 0) and _elements(tensor) >= self.settings.min_matrix_elements

    def _is_table(self, node: NodeProto) -> bool:
        tensor = self.edit.constant(node.input[0])
        axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
        return (
            tensor is not None
            and axis == 0
            and len(tensor.dims) == 2
            and tensor.data_type == TensorProto.FLOAT
            and _elements(tensor) >= self.settings.min_table_elements
        )

    def _calibrate(self, model: ModelProto, readers: dict[str, list[NodeProto]], calibration: Sequence[Feed]) -> None:
        seen = observe(model, readers, calibration)
        divisors = {}
        for tensor, nodes in readers.items():
            producer, channels = self.edit.producer(tensor), seen[tensor].channels
            smooth = producer in _NORMS and self.settings.smoothing
            if producer not in _POSITIVE:
                divisors[tensor] = self._divisor(channels, nodes) if smooth else np.ones_like(channels)
            if self.settings.compensate:
                self.grams[tensor] = seen[tensor].gram
        for tensor, ranges in row_ranges(model, divisors, calibration).items():
            largest = float(ranges.max())
            if 0 < largest <= self.settings.most_spread * float(np.median(ranges)):
                self.scales[tensor] = largest * self.settings.headroom / ACTIVATION_LEVELS
                if not (divisors[tensor] == 1).all():
                    self.divisors[tensor] = divisors[tensor]

    def _divisor(self, channels: Matrix, nodes: Sequence[NodeProto]) -> Matrix:
        """SmoothQuant's factors [K], of geometric mean 1."""
        share = self.settings.smoothing
        weights = np.max([np.abs(self._matrix(node)).max(axis=1) for node in nodes], axis=0)
        logs = share * np.log(np.maximum(channels, FLOOR)) - (1 - share) * np.log(np.maximum(weights, FLOOR))
        # A column that is all but dead must not take the range from the others.
        logs = np.clip(logs - np.median(logs), np.log(1e-2), np.log(1e2))
        factors: Matrix = np.exp(logs - logs.mean()).astype(np.float32)
        return factors

    def _matrix(self, node: NodeProto) -> Matrix:
        """The constant of a product as [K, N]."""
        matrix: Matrix = numpy_helper.to_array(self.edit.constants[self.edit.constant_name(node.input[1])])
        return matrix.T if any(a.name == "transB" and a.i for a in node.attribute) else matrix

    def _product(self, node: NodeProto) -> None:
        edit, source, output = self.edit, node.input[0], node.output[0]
        name = edit.constant_name(node.input[1])
        matrix = self._matrix(node)
        gram = self.grams.get(source)
        if source in self.divisors:
            divisor = self.divisors[source]
            matrix = matrix * divisor[:, None]
            gram = gram / np.outer(divisor, divisor) if gram is not None else None
        levels, scale = self.settings.weight_levels, column_scales(matrix, self.settings.weight_levels)
        weights = nearest(matrix, scale, levels) if gram is None else compensated(matrix, scale, levels, gram)
        # Matrices that were equal and stored once may be read behind different activations.
        name = edit.unused_constant(name, ".int8", weights)
        bias = node.input[2] if len(node.input) > 2 and node.input[2] else None
        activations = self.shared.get(source) or self._quantized(source)
        inputs = [
            activations.values,
            edit.add_constant(f"{name}.int8", weights),
            f"{source}.step"
            if activations.rows is None
            else edit.add_constant("quantize.one", np.array(1.0, np.float32)),
            edit.add_constant(f"{name}.scale", scale),
            self._zero_point(),
        ]
        if activations.rows is None:
            inputs += ["", bias] if bias else []
            edit.add("MatMulIntegerToFloat", inputs, output, domain=MICROSOFT)
            return
        edit.add("MatMulIntegerToFloat", inputs, f"{output}.product", domain=MICROSOFT)
        edit.add("Mul", [f"{output}.product", activations.rows], f"{output}.scaled" if bias else output)
        if bias:
            edit.add("Add", [f"{output}.scaled", bias], output)

    def _quantized(self, tensor: str) -> _Quantized:
        made = self._static(tensor) if tensor in self.scales else self._per_row(tensor)
        self.shared[tensor] = made
        return made

    def _static(self, tensor: str) -> _Quantized:
        edit, source = self.edit, tensor
        if tensor in self.divisors:
            inverse = edit.add_constant(f"{tensor}.inverse", (1 / self.divisors[tensor]).astype(np.float32))
            source = edit.add("Mul", [tensor, inverse], f"{tensor}.smooth")
        step = edit.add_constant(f"{tensor}.step", np.array(self.scales[tensor], np.float32))
        values = edit.add("QuantizeLinear", [source, step, self._zero_point()], f"{tensor}.uint8")
        return _Quantized(values)

    def _per_row(self, tensor: str) -> _Quantized:
        edit = self.edit
        floor = _POSITIVE.get(edit.producer(tensor))
        sizes = tensor if floor is not None else edit.add("Abs", [tensor], f"{tensor}.abs")
        last = edit.add_constant("quantize.last_axis", np.array([-1], np.int64))
        lowest = edit.add_constant(f"quantize.floor.{floor or FLOOR}", np.array(floor or FLOOR, np.float32))
        share = edit.add_constant("quantize.share", np.array(1 / ACTIVATION_LEVELS, np.float32))
        edit.add("ReduceMax", [sizes, last], f"{tensor}.largest", keepdims=1)
        edit.add("Max", [f"{tensor}.largest", lowest], f"{tensor}.range")
        rows = edit.add("Mul", [f"{tensor}.range", share], f"{tensor}.rows")
        values = f"{tensor}.uint8"
        if edit.rank(tensor) == 2:
            # A scale for each row is what QuantizeLinear calls per axis: no pass of its own for the division.
            flat = edit.add_constant("quantize.flat", np.array([-1], np.int64))
            edit.add("Reshape", [rows, flat], f"{tensor}.axis")
            edit.add("Shape", [f"{tensor}.axis"], f"{tensor}.count")
            edit.add("Expand", [self._zero_point(), f"{tensor}.count"], f"{tensor}.zeros")
            edit.add("QuantizeLinear", [tensor, f"{tensor}.axis", f"{tensor}.zeros"], values, axis=0)
        else:
            edit.add("Div", [tensor, rows], f"{tensor}.levels")
            edit.add("QuantizeLinear", [f"{tensor}.levels", self._one(), self._zero_point()], values)
        return _Quantized(values, rows)

    def _table(self, node: NodeProto) -> None:
        edit, ids, output = self.edit, node.input[1], node.output[0]
        name = edit.constant_name(node.input[0])
        table = numpy_helper.to_array(edit.constants[name])
        scale = column_scales(table.T, 127)[:, None]
        edit.add_constant(f"{name}.int8", nearest(table, scale, 127))
        edit.add_constant(f"{name}.scale", scale)
        edit.add("Gather", [f"{name}.int8", ids], f"{output}.int8", axis=0)
        edit.add("Gather", [f"{name}.scale", ids], f"{output}.scale", axis=0)
        edit.add("Cast", [f"{output}.int8"], f"{output}.float", to=TensorProto.FLOAT)
        edit.add("Mul", [f"{output}.float", f"{output}.scale"], output)

    def _one(self) -> str:
        return self.edit.add_constant("quantize.one", np.array(1.0, np.float32))

    def _zero_point(self) -> str:
        return self.edit.add_constant("quantize.zero_point", np.array(ACTIVATION_ZERO_POINT, np.uint8))


def _elements(tensor: TensorProto) -> int:
    return int(np.prod(tensor.dims))


def size_bytes(model: onnx.ModelProto) -> int:
    """Bytes of the serialized graph."""
    return int(model.ByteSize())
