"""Rewriting an ONNX graph node by node: old nodes stay or are replaced, new ones are added, unused constants go.

Knows nothing of quantization.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

MICROSOFT = "com.microsoft"
"""The domain of onnxruntime's own operators."""


class GraphEdit:
    """A copy of `model` in the making: `keep` or `add` nodes in their order, then take the `result`."""

    def __init__(self, model: ModelProto) -> None:
        self._model = ModelProto()
        self._model.CopyFrom(model)
        self._graph = self._model.graph
        self.old_nodes: list[NodeProto] = list(self._graph.node)
        self.constants: dict[str, TensorProto] = {tensor.name: tensor for tensor in self._graph.initializer}
        self._producers = {name: node for node in self.old_nodes for name in node.output}
        self._readers: dict[str, list[NodeProto]] = {}
        for node in self.old_nodes:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
        self._ranks = _ranks(model)
        self._nodes: list[NodeProto] = []
        self.added: set[str] = set()
        """Names of the tensors that new nodes make."""

    def constant_name(self, name: str) -> str:
        """The constant behind a name: exporters write a constant that several layers share once, and Identity nodes."""
        while name not in self.constants and name in self._producers and self._producers[name].op_type == "Identity":
            name = self._producers[name].input[0]
        return name

    def constant(self, name: str) -> TensorProto | None:
        """The constant of that name, None where it is computed."""
        return self.constants.get(self.constant_name(name))

    def producer(self, tensor: str) -> str:
        """The operator that makes a tensor's values, reshaped or not; empty for inputs and constants."""
        node = self._producers.get(tensor)
        while node is not None and node.op_type in ("Reshape", "Identity"):
            node = self._producers.get(node.input[0])
        return node.op_type if node is not None else ""

    def maker(self, tensor: str, *op_types: str) -> NodeProto | None:
        """The old node that makes a tensor, if it is one of these operators."""
        node = self._producers.get(tensor)
        return node if node is not None and node.op_type in op_types else None

    def readers(self, tensor: str) -> Sequence[NodeProto]:
        """The old nodes that read a tensor."""
        return self._readers.get(tensor, ())

    def values(self, name: str) -> npt.NDArray[Any] | None:
        """The constant behind a name, be it an initializer or a Constant node; None where it is computed."""
        tensor = self.constant(name)
        if tensor is None and (node := self.maker(name, "Constant")) and node.attribute[0].name == "value":
            tensor = node.attribute[0].t
        return numpy_helper.to_array(tensor) if tensor is not None else None

    def rank(self, tensor: str) -> int | None:
        """How many axes a tensor has, None if shape inference cannot tell."""
        return self._ranks.get(tensor)

    def keep(self, node: NodeProto) -> None:
        """Take an old node over as it is."""
        self._nodes.append(node)

    def add(self, op_type: str, inputs: Sequence[str], output: str, domain: str = "", **attributes: Any) -> str:
        """A new node of one output, named like it; returns the name."""
        self._nodes.append(helper.make_node(op_type, list(inputs), [output], name=output, domain=domain, **attributes))
        self.added.add(output)
        return output

    def add_constant(self, name: str, values: npt.NDArray[np.generic]) -> str:
        """A constant; of several with one name the first stays. Returns the name."""
        if name not in self.constants:
            tensor = numpy_helper.from_array(values, name)
            self.constants[name] = tensor
            self._graph.initializer.append(tensor)
        return name

    def unused_constant(self, name: str, suffix: str, values: npt.NDArray[np.generic]) -> str:
        """`name`, or `name.2`, `name.3` ...: the first for which `name + suffix` is free or holds just these values."""
        number, found = 1, name
        while found + suffix in self.constants:
            if np.array_equal(numpy_helper.to_array(self.constants[found + suffix]), values):
                break
            number += 1
            found = f"{name}.{number}"
        return found

    def result(self) -> ModelProto:
        """The edited model, onnxruntime's domain imported: nodes and constants that nothing reads any more are gone."""
        del self._graph.node[:]
        self._graph.node.extend(_read(self._nodes, {value.name for value in self._graph.output}))
        used = {name for node in self._graph.node for name in node.input}
        used |= {value.name for value in self._graph.output}
        kept = [tensor for tensor in self._graph.initializer if tensor.name in used]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)
        if not any(opset.domain == MICROSOFT for opset in self._model.opset_import):
            self._model.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
        return self._model


def _read(nodes: Sequence[NodeProto], outputs: set[str]) -> list[NodeProto]:
    """Of nodes in their order those that lead to an output."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if not wanted.isdisjoint(node.output):
            wanted.update(node.input)
            kept.append(node)
    return kept[::-1]


def _ranks(model: ModelProto) -> dict[str, int]:
    """By shape inference on the graph without its large constants, of which it would make copies."""
    shell = ModelProto()
    shell.ir_version = model.ir_version
    shell.opset_import.extend(model.opset_import)
    shell.graph.name = model.graph.name
    shell.graph.node.extend(model.graph.node)
    shell.graph.input.extend(model.graph.input)
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            shell.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
        else:
            shell.graph.initializer.append(tensor)
    graph = onnx.shape_inference.infer_shapes(shell, data_prop=True).graph
    values = [*graph.value_info, *graph.input]
    return {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in values
        if value.type.tensor_type.HasField("shape")
    }
