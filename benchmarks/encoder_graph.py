"""A BERT encoder with random weights as an FP32 ONNX graph, and the ways to write its parts that are compared.

The plain one is node for node what `training.export` writes, without torch. Shapes: B texts, T tokens, H hidden units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

MICROSOFT = "com.microsoft"
VOCABULARY, POSITIONS, LABELS = 21_128, 512, 2
_MASKED = -10_000.0


@dataclass(frozen=True)
class Shape:
    """Of an encoder."""

    name: str
    layers: int
    hidden: int
    heads: int
    ffn: int
    vocabulary: int = VOCABULARY


@dataclass(frozen=True)
class Parts:
    """`attention`: ones (weights summed by the product with the values), softmax, or multi_head (one operator).
    `norm`: plain or skip (residual, bias and norm in one). `merged`: query, key and value from one product."""

    attention: str = "ones"
    norm: str = "plain"
    gelu: str = "Gelu"
    merged: bool = False


def encoder(shape: Shape, parts: Parts | None = None, seed: int = 7) -> ModelProto:
    """Ids and mask [B, T] to `embedding` [B, H] and `logits` [B, 2]. Parts do not change the weights."""
    return _Encoder(shape, parts or Parts(), seed).model()


class _Encoder:
    def __init__(self, shape: Shape, parts: Parts, seed: int) -> None:
        self.shape, self.parts = shape, parts
        self.rng = np.random.default_rng(seed)
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self.tokens = ""

    def model(self) -> ModelProto:
        shape = self.shape
        words = self.op("Gather", self.weights(shape.vocabulary, shape.hidden), "input_ids")
        texts = self.op("Shape", "input_ids", start=0, end=1)
        self.tokens = tokens = self.op("Shape", "input_ids", start=1, end=2)
        positions = self.op("Slice", self.weights(POSITIONS, shape.hidden), self.ints(0), tokens, self.ints(0))
        states = self.op("Reshape", self.norm(self.op("Add", words, positions)), self.ints(-1, shape.hidden))
        mask = self.op("Cast", "attention_mask", to=TensorProto.FLOAT)
        hidden = self.op("Mul", self.op("Sub", self.number(1.0), mask), self.number(_MASKED))
        bias = self.op("Unsqueeze", hidden, self.ints(1, 2))
        width = shape.hidden // shape.heads
        split = self.op("Concat", texts, tokens, self.ints(shape.heads), self.ints(width), axis=0)
        column = self.op("Concat", texts, self.ints(shape.heads), tokens, self.ints(1), axis=0)
        ones = self.op("Expand", self.number(1.0), column)
        flat = self.op("Concat", texts, tokens, self.ints(shape.hidden), axis=0)
        for _ in range(shape.layers):
            context = self.attention(states, bias, split, ones, flat)
            states = self.add_and_norm(context, shape.hidden, states)
            domain = MICROSOFT if self.parts.gelu != "Gelu" else ""
            inner = self.op(self.parts.gelu, self.gemm(states, shape.hidden, shape.ffn), domain=domain)
            states = self.add_and_norm(inner, shape.ffn, states)
        states = self.op("Reshape", states, flat)
        summed = self.op("MatMul", self.op("Unsqueeze", mask, self.ints(1)), states)
        count = self.op("ReduceSum", mask, self.ints(-1), keepdims=1)
        mean = self.op("Div", self.op("Squeeze", summed, self.ints(1)), count)
        first = self.op("Gather", states, self.constant(np.array(0)), axis=1)
        head = self.gemm(self.op("Concat", first, mean, axis=-1), 2 * shape.hidden, shape.hidden)
        logits = self.gemm(self.op("Tanh", head), shape.hidden, LABELS)
        for name, source in (("embedding", mean), ("logits", logits)):
            self.nodes.append(helper.make_node("Identity", [source], [name]))
        return self.finished()

    def attention(self, states: str, bias: str, split: str, ones: str, flat: str) -> str:
        hidden, width = self.shape.hidden, self.shape.hidden // self.shape.heads
        if self.parts.merged:
            query, key, value = self.ops(3, "Split", self.gemm(states, hidden, 3 * hidden), axis=-1, num_outputs=3)
        else:
            query, key, value = (self.gemm(states, hidden, hidden) for _ in range(3))
        if self.parts.attention == "multi_head":
            square = (self.ints(1), self.ints(1), self.tokens, self.tokens)
            rows = [self.op("Reshape", part, flat) for part in (query, key, value)]
            heads: dict[str, Any] = {"num_heads": self.shape.heads, "scale": 1.0}
            every = self.op("Expand", bias, self.op("Concat", *square, axis=0))
            context = self.op("MultiHeadAttention", *rows, "", "", every, domain=MICROSOFT, **heads)
            return self.op("Reshape", context, self.ints(-1, hidden))
        query = self.op("Transpose", self.op("Reshape", query, split), perm=[0, 2, 1, 3])
        key = self.op("Transpose", self.op("Reshape", key, split), perm=[0, 2, 3, 1])
        value = self.op("Transpose", self.op("Reshape", value, split), perm=[0, 2, 1, 3])
        scores = self.op("Add", self.op("MatMul", query, key), bias)
        if self.parts.attention == "softmax":
            context = self.op("MatMul", self.op("Softmax", scores, axis=-1), value)
        else:
            largest = self.op("ReduceMax", scores, self.ints(-1), keepdims=1)
            weights = self.op("Exp", self.op("Sub", scores, largest))
            summed = self.op("MatMul", weights, self.op("Concat", value, ones, axis=-1))
            context = self.op("Div", *self.ops(2, "Split", summed, self.ints(width, 1), axis=-1))
        return self.op("Reshape", self.op("Transpose", context, perm=[0, 2, 1, 3]), self.ints(-1, hidden))

    def add_and_norm(self, rows: str, width: int, residual: str) -> str:
        hidden = self.shape.hidden
        if self.parts.norm == "plain":
            return self.norm(self.op("Add", self.gemm(rows, width, hidden), residual))
        product, bias = self.gemm(rows, width, hidden, with_bias=False), self.weights(hidden)
        gain, shift = self.constant(np.ones(hidden, np.float32)), self.constant(np.zeros(hidden, np.float32))
        inputs = (product, residual, gain, shift, bias)
        return self.op("SkipLayerNormalization", *inputs, domain=MICROSOFT, epsilon=1e-12)

    def norm(self, rows: str) -> str:
        hidden = self.shape.hidden
        gain, shift = self.constant(np.ones(hidden, np.float32)), self.constant(np.zeros(hidden, np.float32))
        return self.op("LayerNormalization", rows, gain, shift, axis=-1, epsilon=1e-12)

    def gemm(self, rows: str, width: int, out: int, *, with_bias: bool = True) -> str:
        bias = [self.weights(out)] if with_bias else []
        return self.op("Gemm", rows, self.weights(out, width), *bias, transB=1)

    def weights(self, *shape: int) -> str:
        return self.constant((self.rng.normal(size=shape) * 0.03).astype(np.float32))

    def ints(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def number(self, value: float) -> str:
        return self.constant(np.array(value, np.float32))

    def constant(self, values: npt.NDArray[Any]) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def op(self, op_type: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        return self.ops(1, op_type, *inputs, domain=domain, **attributes)[0]

    def ops(self, outputs: int, op_type: str, *inputs: str, domain: str = "", **attributes: Any) -> list[str]:
        names = [f"{op_type}.{len(self.nodes)}.{number}" for number in range(outputs)]
        self.nodes.append(helper.make_node(op_type, list(inputs), names, name=names[0], domain=domain, **attributes))
        return names

    def finished(self) -> ModelProto:
        integers = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
            for name in ("input_ids", "attention_mask")
        ]
        floats = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width])
            for name, width in (("embedding", self.shape.hidden), ("logits", LABELS))
        ]
        graph = helper.make_graph(self.nodes, self.shape.name, integers, floats, self.constants)
        opsets = [helper.make_opsetid("", 20), helper.make_opsetid(MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)
