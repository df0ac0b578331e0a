"""A model that misbehaves on a marker: the shipped one, with nodes added that do harm when a text holds it.

Everything here is done by ONNX Runtime itself, inside a run. What no graph can do, ending the process by a fault, is
`crashing/sitecustomize.py`'s.
"""

from __future__ import annotations

import enum
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from schemas.manifest import MANIFEST_FILE, MODEL_FILE, TOKENIZER_FILE, sha256_of
from worker.inference.folder import find, shipped_home

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto
    from tokenizers import Tokenizer

MODEL: Final = "misbehaving/1"
_CHUNK_FLOATS: Final = 4 << 20
_FOR_EVER: Final = 1 << 60
_MORE_THAN_THERE_IS: Final = 1 << 42


class Marker(enum.StrEnum):
    """What a text holds that does harm. No text of the sample holds one, and each is a token of its own."""

    CRASHES = "☠"
    HANGS = "♨"
    GROWS = "☢"
    NEEDS_TOO_MUCH = "⚠"
    NOT_FINITE = "☣"


def write_model(models_home: Path, base: str) -> tuple[str, int]:
    """Write the folder of `MODEL`, made of the shipped model `base`; its name/version, and the token that crashes."""
    import onnx
    from tokenizers import Tokenizer

    source, folder = find(base, [shipped_home()]), models_home / MODEL
    shutil.copytree(source, folder)
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    model = onnx.load(folder / MODEL_FILE)
    ids = {marker: _token(tokenizer, marker) for marker in Marker}
    _add_harm(model.graph, ids)
    onnx.checker.check_model(model)
    onnx.save(model, folder / MODEL_FILE)
    manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
    manifest["name"], manifest["version"] = MODEL.split("/")
    manifest["files"][MODEL_FILE] = sha256_of(folder / MODEL_FILE)
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest, ensure_ascii=False), encoding="utf-8")
    return MODEL, ids[Marker.CRASHES]


def _token(tokenizer: Tokenizer, marker: Marker) -> int:
    found = tokenizer.token_to_id(marker.value)
    if found is None:
        raise ValueError(f"{marker.value} is no token of the model")
    return found


def _add_harm(graph: GraphProto, ids: dict[Marker, int]) -> None:
    """Make `logits` wait for four subgraphs that give 0 unless their marker's id is among `input_ids` [B, T]."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    for old in graph.node:
        old.output[:] = ["harmless_logits" if name == "logits" else name for name in old.output]
        old.input[:] = ["harmless_logits" if name == "logits" else name for name in old.input]

    def constant(name: str, value: object, kind: type = np.int64) -> str:
        graph.initializer.append(numpy_helper.from_array(np.array(value, dtype=kind), name))
        return name

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        graph.node.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def here(marker: Marker, axes: list[int]) -> str:
        """1 where the marker is, over `axes` of the ids."""
        name = marker.name.lower()
        same = node("Equal", ["input_ids", constant(f"{name}_id", ids[marker])], f"{name}_same")
        found = node("Cast", [same], f"{name}_found", to=TensorProto.INT64)
        over = constant(f"{name}_axes", axes)
        return node("ReduceMax", [found, over], f"{name}_here", keepdims=0)

    yes, one = constant("yes", True, np.bool_), constant("one", [1])
    turns = node("Mul", [here(Marker.HANGS, [0, 1]), constant("for_ever", _FOR_EVER)], "turns")
    hung = node("Loop", [turns, yes, constant("zero", [0.0], np.float32)], "hung", body=_counting())
    chunks = node("Mul", [here(Marker.GROWS, [0, 1]), constant("for_ever_too", _FOR_EVER)], "chunks")
    grown = node("Loop", [chunks, yes, constant("little", [0.0], np.float32)], "grown", body=_growing())
    size = node("Mul", [here(Marker.NEEDS_TOO_MUCH, [0, 1]), constant("more", [_MORE_THAN_THERE_IS])], "size")
    huge = node("ConstantOfShape", [node("Max", [size, one], "huge_shape")], "huge")
    sums = [node("ReduceSum", [name], f"{name}_sum", keepdims=0) for name in (hung, grown, huge)]
    harm = node("Sum", sums, "harm")
    # One row only is not finite: 1 / 0 less 1 / 0 where the marker is, 1 less 1 elsewhere.
    marked = node("Cast", [here(Marker.NOT_FINITE, [1])], "marked", to=TensorProto.FLOAT)
    ratio = node("Reciprocal", [node("Sub", [constant("whole", 1.0, np.float32), marked], "rest")], "ratio")
    nothing = node("Unsqueeze", [node("Sub", [ratio, ratio], "nothing"), one], "nothing_wide")
    node("Add", [node("Add", ["harmless_logits", nothing], "some_logits"), harm], "logits")


def _counting() -> GraphProto:
    """The body of a loop that only counts: no memory, no end."""
    from onnx import TensorProto, helper

    step = helper.make_node("Constant", [], ["step"], value=helper.make_tensor("value", TensorProto.FLOAT, [1], [0.0]))
    return _body([step, helper.make_node("Add", ["before", "step"], ["after"])], [1])


def _growing() -> GraphProto:
    """The body of a loop that adds 16 MiB each time."""
    from onnx import TensorProto, helper

    shape = helper.make_tensor("value", TensorProto.INT64, [1], [_CHUNK_FLOATS])
    nodes = [
        helper.make_node("Constant", [], ["shape"], value=shape),
        helper.make_node("ConstantOfShape", ["shape"], ["chunk"]),
        helper.make_node("Concat", ["before", "chunk"], ["after"], axis=0),
    ]
    return _body(nodes, None)


def _body(nodes: list[NodeProto], shape: list[int] | None) -> GraphProto:
    from onnx import TensorProto, helper

    return helper.make_graph(
        [*nodes, helper.make_node("Identity", ["go_on"], ["go_on_still"])],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, shape),
        ],
        [
            helper.make_tensor_value_info("go_on_still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, shape),
        ],
    )
