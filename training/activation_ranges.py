"""How large the tensors get that matrix products read, seen on calibration texts: what static scales are made of.

Which tensors those are and what becomes of the figures is `training.quantize`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnx import ModelProto, TensorProto, helper, numpy_helper

Values = npt.NDArray[np.float32]
Ids = npt.NDArray[np.integer[Any]]
Feed = Mapping[str, npt.NDArray[np.int64]]
"""The graph's inputs for one text or several of one length: padding would be taken for text."""


@dataclass(frozen=True, eq=False)
class Range:
    """`channels` [K]: the largest size of each column's values; `rows` [N]: of each row's, divided by `divisor` [K]."""

    channels: Values
    rows: Values


def feed(
    ids: npt.NDArray[np.integer], types: npt.NDArray[np.integer] | None = None
) -> dict[str, npt.NDArray[np.int64]]:
    """One text's token ids [T] and, for pairs, token types [T], as the graph's inputs [1, T]."""
    row = ids.astype(np.int64)[None]
    made = {"input_ids": row, "attention_mask": np.ones_like(row)}
    if types is not None:
        made["token_type_ids"] = types.astype(np.int64)[None]
    return made


def observe(model: ModelProto, divisors: Mapping[str, Values], feeds: Sequence[Feed]) -> dict[str, Range]:
    """The range of each tensor [N, K] or [..., K] that `divisors` [K] names, over all feeds (at least one)."""
    probe = ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    for tensor, divisor in divisors.items():
        _measure(probe, tensor, divisor)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
    inputs = {node.name for node in session.get_inputs()}
    seen = [session.run(None, {name: values for name, values in feed.items() if name in inputs}) for feed in feeds]
    ranges = {}
    for number, tensor in enumerate(divisors):
        channels = np.max([values[2 * number] for values in seen], axis=0)
        rows = np.concatenate([values[2 * number + 1] for values in seen])
        ranges[tensor] = Range(channels, rows)
    return ranges


def _measure(probe: ModelProto, tensor: str, divisor: Values) -> None:
    graph, prefix = probe.graph, f"{tensor}.observed"
    constants: dict[str, npt.NDArray[Any]] = {
        "shape": np.array([-1, len(divisor)], np.int64),
        "divisor": divisor,
        "first": np.array([0], np.int64),
        "last": np.array([1], np.int64),
    }
    graph.initializer.extend(numpy_helper.from_array(value, f"{prefix}.{name}") for name, value in constants.items())
    steps: list[tuple[str, list[str], str, dict[str, Any]]] = [
        ("Abs", [tensor], "abs", {}),
        ("Reshape", [f"{prefix}.abs", f"{prefix}.shape"], "flat", {}),
        ("ReduceMax", [f"{prefix}.flat", f"{prefix}.first"], "channels", {"keepdims": 0}),
        ("Div", [f"{prefix}.flat", f"{prefix}.divisor"], "divided", {}),
        ("ReduceMax", [f"{prefix}.divided", f"{prefix}.last"], "rows", {"keepdims": 0}),
    ]
    for op_type, inputs, output, attributes in steps:
        graph.node.append(helper.make_node(op_type, inputs, [f"{prefix}.{output}"], **attributes))
    graph.output.extend(
        helper.make_tensor_value_info(f"{prefix}.{name}", TensorProto.FLOAT, None) for name in ("channels", "rows")
    )
