"""The INT8 forms that the search for the fastest one compares. The chosen ones are `training.quantize`'s own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from benchmarks.encoder_graph import MICROSOFT, VOCABULARY, Parts
from training.activation_ranges import Feed, feed
from training.graph_edit import GraphEdit
from training.quantize import Quantization, column_scales, quantize
from training.rounding import nearest

CALIBRATION_TEXTS, CALIBRATION_TOKENS = 8, 24
_TABLES = Quantization(min_matrix_elements=1 << 40)
"""Quantizes the embedding table alone."""


@dataclass(frozen=True)
class Form:
    """`make` turns the FP32 graph that `parts` describe into the form; `note` says what it is for readers."""

    name: str
    note: str
    make: Callable[[ModelProto], ModelProto]
    parts: Parts = field(default_factory=Parts)


def forms() -> Sequence[Form]:
    """FP32 first: the others' speed is told against it."""
    fixed = calibrated()
    return (
        Form("fp32", "the exported graph", lambda model: model),
        Form("per-tensor", "onnxruntime's `quantize_dynamic`: one scale for the whole batch", per_tensor),
        Form("per-row-passes", "a scale per row: Abs, ReduceMax, Max, Div, Div, Mul, QuantizeLinear", per_row_passes),
        Form("per-row", "the same, the rows' scales given to QuantizeLinear; no Abs behind GELU", quantize),
        Form("static", "constant scales, per row behind GELU; outlier columns moved into the weights", fixed),
        Form("static-127", "weights of 8 bits instead of 7", calibrated(Quantization(weight_levels=127))),
        Form("static-plain", "outlier columns left alone", calibrated(Quantization(smoothing=0.0))),
        Form("static-merged", "query, key and value in one product", fixed, Parts(merged=True)),
        Form("static-skip-norm", "SkipLayerNormalization for bias, residual and norm", fixed, Parts(norm="skip")),
        Form("static-fast-gelu", "FastGelu (tanh)", fixed, Parts(gelu="FastGelu")),
        Form("static-quick-gelu", "QuickGelu (sigmoid)", fixed, Parts(gelu="QuickGelu")),
        Form("static-softmax", "Softmax instead of sums in the product", fixed, Parts(attention="softmax")),
        Form("static-attention", "MultiHeadAttention in one operator", fixed, Parts(attention="multi_head")),
        Form("static-u8-weights", "weights as uint8", lambda model: unsigned_weights(fixed(model))),
        Form("blocks-8", "MatMulNBits, 8 bits, blocks of 128, accuracy level 4", lambda model: n_bits(model, 8)),
        Form("blocks-4", "MatMulNBits, 4 bits, blocks of 128, accuracy level 4", lambda model: n_bits(model, 4)),
    )


def calibrated(settings: Quantization | None = None) -> Callable[[ModelProto], ModelProto]:
    """Static scales from random ids, which random weights call for."""
    rng = np.random.default_rng(3)
    feeds: list[Feed] = [feed(rng.integers(5, VOCABULARY, CALIBRATION_TOKENS)) for _ in range(CALIBRATION_TEXTS)]
    settings = replace(settings or Quantization(), compensate=False)  # the same speed, made sooner
    return lambda model: quantize(model, settings, feeds)


def per_tensor(model: ModelProto) -> ModelProto:
    """onnxruntime's dynamic quantization."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as scratch:
        source, target = Path(scratch) / "fp32.onnx", Path(scratch) / "int8.onnx"
        onnx.save(model, source)
        extra = {"DefaultTensorType": TensorProto.FLOAT}
        quantize_dynamic(source, target, per_channel=True, weight_type=QuantType.QInt8, extra_options=extra)
        return onnx.load(target)


def per_row_passes(model: ModelProto) -> ModelProto:
    """The plainest form per row: every step a pass of its own."""
    edit = GraphEdit(quantize(model, _TABLES))
    made: dict[str, str] = {}
    zero = edit.add_constant("zero", np.array(128, np.uint8))
    one = edit.add_constant("one", np.array(1.0, np.float32))
    axis = edit.add_constant("axis", np.array([-1], np.int64))
    floor = edit.add_constant("floor", np.array(1e-9, np.float32))
    levels = edit.add_constant("levels", np.array(127.0, np.float32))
    for node in edit.old_nodes:
        if not _is_product(edit, node):
            edit.keep(node)
            continue
        source, output, name = node.input[0], node.output[0], node.input[1]
        if source not in made:
            sizes = edit.add("Abs", [source], f"{source}.abs")
            largest = edit.add("ReduceMax", [sizes, axis], f"{source}.largest", keepdims=1)
            reach = edit.add("Max", [largest, floor], f"{source}.range")
            made[source] = edit.add("Div", [reach, levels], f"{source}.scale")
            inverse = edit.add("Div", [levels, reach], f"{source}.inverse")
            edit.add("Mul", [source, inverse], f"{source}.levels")
            edit.add("QuantizeLinear", [f"{source}.levels", one, zero], f"{source}.uint8")
        matrix = numpy_helper.to_array(edit.constants[name]).T
        scale = column_scales(matrix, 63)
        weights = nearest(matrix, scale, 63)
        inputs = [edit.add_constant(f"{name}.int8", weights), one, edit.add_constant(f"{name}.scale", scale), zero]
        edit.add("MatMulIntegerToFloat", [f"{source}.uint8", *inputs], f"{output}.product", domain=MICROSOFT)
        edit.add("Mul", [f"{output}.product", made[source]], f"{output}.scaled")
        edit.add("Add", [f"{output}.scaled", node.input[2]], output)
    return edit.result()


def unsigned_weights(model: ModelProto) -> ModelProto:
    """uint8 around 128 in the place of int8."""
    edit = GraphEdit(model)
    zero = edit.add_constant("weights.zero_point", np.array(128, np.uint8))
    for node in edit.old_nodes:
        if node.op_type == "MatMulIntegerToFloat":
            values = numpy_helper.to_array(edit.constants[node.input[1]]).astype(np.int16) + 128
            inputs = [*node.input[:1], edit.add_constant(f"{node.input[1]}.unsigned", values.astype(np.uint8))]
            rest = [*node.input[2:5], zero, *node.input[6:]]
            edit.add("MatMulIntegerToFloat", inputs + rest, node.output[0], domain=MICROSOFT)
        else:
            edit.keep(node)
    return edit.result()


def n_bits(model: ModelProto, bits: int, block: int = 128) -> ModelProto:
    """Weights in blocks along K; at accuracy level 4 the operator quantizes activations per row and block itself.

    The weights' values do not matter here and are made up.
    """
    edit = GraphEdit(quantize(model, _TABLES))
    rng = np.random.default_rng(5)
    for node in edit.old_nodes:
        if not _is_product(edit, node):
            edit.keep(node)
            continue
        name = node.input[1]
        out, width = edit.constants[name].dims
        blocks = -(-width // block)
        packed = rng.integers(0, 256, (out, blocks, block * bits // 8)).astype(np.uint8)
        scales = np.full(out * blocks, 0.05 / 2**bits, np.float32)
        inputs = [edit.add_constant(f"{name}.packed", packed), edit.add_constant(f"{name}.scales", scales)]
        output = f"{node.output[0]}.product"
        shape = {"K": width, "N": out, "bits": bits, "block_size": block, "accuracy_level": 4}
        edit.add("MatMulNBits", [node.input[0], *inputs], output, domain=MICROSOFT, **shape)
        edit.add("Add", [output, node.input[2]], node.output[0])
    return edit.result()


def _is_product(edit: GraphEdit, node: NodeProto) -> bool:
    """Of the encoder: its head is small, and its weights stay."""
    tensor = edit.constant(node.input[1]) if node.op_type == "Gemm" else None
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return tensor is not None and attributes.get("transB") == 1 and min(tensor.dims) > 2
