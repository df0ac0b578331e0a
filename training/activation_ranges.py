"""What the tensors that matrix products read look like on calibration texts: what static scales and rounding go by.

Which tensors those are and what becomes of the figures is `training.quantize`'s.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnx import ModelProto, TensorProto, helper

Values = npt.NDArray[np.float32]
Ids = npt.NDArray[np.integer[Any]]
Feed = Mapping[str, npt.NDArray[np.int64]]
"""The graph's inputs for one text or several of one length: padding would be taken for text."""


@dataclass(eq=False)
class Seen:
    """Of a tensor's rows [K]: `channels` [K], the largest size of each column's values, and `gram` [K, K], the sum of
    the rows' products with themselves."""

    channels: Values
    gram: Values


def feed(ids: Ids, types: Ids | None = None) -> dict[str, npt.NDArray[np.int64]]:
    """One text's token ids [T] and, for pairs, token types [T], as the graph's inputs [1, T]."""
    row = ids.astype(np.int64)[None]
    made = {"input_ids": row, "attention_mask": np.ones_like(row)}
    if types is not None:
        made["token_type_ids"] = types.astype(np.int64)[None]
    return made


def observe(model: ModelProto, tensors: Collection[str], feeds: Sequence[Feed]) -> dict[str, Seen]:
    """The named tensors over all feeds (at least one). Takes the room of a gram each."""
    found: dict[str, Seen] = {}
    for rows_by_name in _rows(model, tensors, feeds):
        for name, rows in rows_by_name.items():
            seen = found.setdefault(name, Seen(np.zeros(rows.shape[1], np.float32), np.zeros((1, 1), np.float32)))
            seen.channels = np.maximum(seen.channels, np.abs(rows).max(axis=0))
            seen.gram = seen.gram + rows.T @ rows
    return found


def row_ranges(model: ModelProto, divisors: Mapping[str, Values], feeds: Sequence[Feed]) -> dict[str, Values]:
    """The largest size in each row of each named tensor, over all feeds, after division by its `divisors` [K]."""
    found: dict[str, list[Values]] = {name: [] for name in divisors}
    for rows_by_name in _rows(model, divisors, feeds):
        for name, rows in rows_by_name.items():
            found[name].append(np.abs(rows / divisors[name]).max(axis=1))
    return {name: np.concatenate(values) for name, values in found.items()}


def largest(model: ModelProto, tensors: Collection[str], feeds: Sequence[Feed]) -> float:
    """The largest size of any value of the named tensors, over all feeds."""
    parts = (values for rows_by_name in _rows(model, tensors, feeds) for values in rows_by_name.values())
    return max((float(np.abs(values).max()) for values in parts), default=0.0)


def _rows(model: ModelProto, tensors: Collection[str], feeds: Sequence[Feed]) -> Iterator[dict[str, Values]]:
    """The tensors as [N, K], feed by feed."""
    probe = ModelProto()
    probe.CopyFrom(model)
    names = list(tensors)
    del probe.graph.output[:]
    probe.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
    inputs = {node.name for node in session.get_inputs()}
    for given in feeds:
        values = session.run(names, {name: value for name, value in given.items() if name in inputs})
        yield {name: value.reshape(-1, value.shape[-1]) for name, value in zip(names, values, strict=True)}
