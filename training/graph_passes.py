"""What makes a quantized graph faster without changing what it computes: one function for each step.

Each takes a model and gives a rewritten copy, or the same model where it does not find what it is for. They are for
graphs of `training.export` behind `training.quantize`; what each is worth is told in docs/quantization.md. A text's
scores stay independent of its batch-mates: every pass keeps the order in which numbers are added.
Shapes: B texts, T tokens, N = B * T rows, H hidden units.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from training.activation_ranges import Feed, largest
from training.graph_attention import Attention, find
from training.graph_edit import MICROSOFT, GraphEdit

CLIPPED_AT = 70.0
"""exp(70) times 512 tokens times any value stays far from what float32 holds, exp(-70) far from denormals."""
MOST_SEEN = 56.0
"""Largest score on calibration texts with which a model may do without subtracting each row's largest."""
_VISIBLE = "attention.visible"
_MASK = "attention_mask"
_HEADS_FORWARD, _KEYS_FORWARD = [0, 2, 1, 3], [0, 2, 3, 1]


def improved(model: ModelProto, calibration: Sequence[Feed] = ()) -> ModelProto:
    """Every pass. Without calibration texts scores keep their subtraction: nothing says how large they are."""
    if calibration and largest_score(model, calibration) <= MOST_SEEN:
        model = clipped_scores(model)
    return quantized_heads(tokens_first(model))


def largest_score(model: ModelProto, feeds: Sequence[Feed]) -> float:
    """The largest size of an attention score on texts; 0 where there is no attention of the known form."""
    names = [attention.scores for attention in find(GraphEdit(model))]
    return largest(model, names, feeds) if names else 0.0


def clipped_scores(model: ModelProto) -> ModelProto:
    """exp(scores) instead of exp(scores + mask - the row's largest): three passes over [B, heads, T, T] become one.

    Softmax is the same with and without the subtraction as long as nothing overflows, so scores are clipped; padding is
    taken out by zeros in the values and in the ones beside them.
    """
    edit = GraphEdit(model)
    layers = {a.limited: a for a in find(edit) if edit.maker(a.limited, "Sub")}
    if not layers or _MASK not in {value.name for value in model.graph.input}:
        return model
    concats = {a.beside.output[0]: a for a in layers.values()}
    shaped = {a.transposes[2].input[0]: a for a in layers.values()}
    _add_visible(edit)
    ones = ""
    for node in edit.old_nodes:
        output = node.output[0]
        if output in layers:
            low, high = (
                edit.add_constant(f"attention.{name}", np.array(value, np.float32))
                for name, value in (("lowest", -CLIPPED_AT), ("highest", CLIPPED_AT))
            )
            edit.add("Clip", [layers[output].scores, low, high], output)
        elif output in shaped:
            seen = edit.add("Mul", [node.input[0], f"{_VISIBLE}.rows"], f"{node.input[0]}.visible")
            edit.add("Reshape", [seen, node.input[1]], output)
        elif output in concats:
            ones = ones or edit.add("Mul", [concats[output].ones, f"{_VISIBLE}.keys"], "attention.ones")
            edit.add("Concat", [node.input[0], ones], output, axis=-1)
        else:
            edit.keep(node)
    return edit.result()


def _add_visible(edit: GraphEdit) -> None:
    """The mask as floats, for rows [N, 1] and for keys [B, 1, T, 1]."""
    edit.add("Cast", [_MASK], _VISIBLE, to=TensorProto.FLOAT)
    edit.add("Reshape", [_VISIBLE, edit.add_constant("shape.rows", np.array([-1, 1]))], f"{_VISIBLE}.rows")
    edit.add("Unsqueeze", [_VISIBLE, edit.add_constant("shape.keys", np.array([1, 3]))], f"{_VISIBLE}.keys")


def tokens_first(model: ModelProto) -> ModelProto:
    """Rows in the order of (token, text), not (text, token): then heads need no bringing forward.

    onnxruntime's FusedMatMul reads [T, B, heads, width] as [B, heads, T, width] while it multiplies. Of four Transposes
    a layer one is left, plus one behind the embeddings and one before pooling.
    """
    edit = GraphEdit(model)
    layers = find(edit)
    flat, restored = _flattened(edit), _restored(edit)
    plain = all([list(_perm(node)) for node in a.transposes] == _USUAL for a in layers)
    if not layers or not plain or flat is None or restored is None:
        return model
    replaced: dict[str, Callable[[NodeProto], None]] = {
        flat.output[0]: lambda node: _flatten(edit, node),
        restored.output[0]: lambda node: _restore(edit, node),
        f"{_VISIBLE}.rows": lambda node: _rows_tokens_first(edit, node),
    }
    for attention in layers:
        replaced |= _attention_tokens_first(edit, attention)
    dropped = {node.output[0] for attention in layers for node in attention.transposes}
    for node in edit.old_nodes:
        if node.output[0] in replaced:
            replaced[node.output[0]](node)
        elif node.output[0] not in dropped:
            edit.keep(node)
    return edit.result()


_USUAL = [_HEADS_FORWARD, _KEYS_FORWARD, _HEADS_FORWARD]


def _attention_tokens_first(edit: GraphEdit, attention: Attention) -> dict[str, Callable[[NodeProto], None]]:
    query, key, value = (node.input[0] for node in attention.transposes)
    first, second = attention.products

    def shape(node: NodeProto) -> None:
        edit.add("Reshape", [node.input[0], _swapped(edit, attention.split, "shape.heads")], node.output[0])

    def scores(node: NodeProto) -> None:
        turned = {"transBatchA": 1, "transBatchB": 1, "transB": 1}
        edit.add("FusedMatMul", [query, key], node.output[0], domain=MICROSOFT, **turned)

    def beside(node: NodeProto) -> None:
        ones = f"{attention.ones}.tokens_first"
        if ones not in edit.added:
            edit.add("Transpose", [attention.ones], ones, perm=[2, 0, 1, 3])
        edit.add("Concat", [value, ones], node.output[0], axis=-1)

    def summed(node: NodeProto) -> None:
        edit.add("FusedMatMul", list(node.input), node.output[0], domain=MICROSOFT, transBatchB=1)

    def back(node: NodeProto) -> None:
        edit.add("Transpose", list(node.input), node.output[0], perm=[2, 0, 1, 3])

    return {
        **dict.fromkeys((query, key, value), shape),
        first.output[0]: scores,
        attention.beside.output[0]: beside,
        second.output[0]: summed,
        attention.forward.output[0]: back,
    }


def _flattened(edit: GraphEdit) -> NodeProto | None:
    """The Reshape of the embeddings [B, T, H] to rows [N, H], the only one but for those behind attention."""
    found = [n for n in edit.old_nodes if n.op_type == "Reshape" and edit.rank(n.input[0]) == 3 and _to_rows(edit, n)]
    return found[0] if len(found) == 1 else None


def _to_rows(edit: GraphEdit, node: NodeProto) -> bool:
    shape = edit.values(node.input[1])
    return shape is not None and shape.shape == (2,) and shape[0] == -1 and shape[1] > 1


def _restored(edit: GraphEdit) -> NodeProto | None:
    """The Reshape of the last layer's rows to [B, T, H]."""
    found = [
        node
        for node in edit.old_nodes
        if node.op_type == "Reshape" and (shape := edit.maker(node.input[1], "Concat")) and len(shape.input) == 3
        if edit.maker(node.input[0], "LayerNormalization", "SkipLayerNormalization")
    ]
    return found[0] if len(found) == 1 else None


def _flatten(edit: GraphEdit, node: NodeProto) -> None:
    turned = edit.add("Transpose", [node.input[0]], f"{node.input[0]}.tokens_first", perm=[1, 0, 2])
    edit.add("Reshape", [turned, node.input[1]], node.output[0])


def _restore(edit: GraphEdit, node: NodeProto) -> None:
    shape = _swapped(edit, node.input[1], "shape.states")
    turned = edit.add("Reshape", [node.input[0], shape], f"{node.output[0]}.tokens_first")
    edit.add("Transpose", [turned], node.output[0], perm=[1, 0, 2])


def _rows_tokens_first(edit: GraphEdit, node: NodeProto) -> None:
    turned = edit.add("Transpose", [node.input[0]], f"{_VISIBLE}.tokens_first", perm=[1, 0])
    edit.add("Reshape", [turned, node.input[1]], node.output[0])


def _swapped(edit: GraphEdit, shape: str, name: str) -> str:
    """The shape [T, B, ...] of one that is put together as [B, T, ...]."""
    if name not in edit.added:
        made = edit.maker(shape, "Concat")
        assert made is not None  # noqa: S101 - asked for where the node was found
        edit.add("Concat", [made.input[1], made.input[0], *made.input[2:]], name, axis=0)
    return name


def quantized_heads(model: ModelProto) -> ModelProto:
    """The context is quantized before heads go back to their rows, not behind: a quarter of the bytes to move."""
    edit = GraphEdit(model)
    found = {}
    for node in edit.old_nodes:
        rows = edit.maker(node.input[0], "Reshape") if node.op_type == "QuantizeLinear" else None
        back = edit.maker(rows.input[0], "Transpose") if rows is not None else None
        if rows is None or back is None or not _one_scale(edit, node) or len(edit.readers(rows.output[0])) > 1:
            continue
        found[node.output[0]] = (back, rows)
    if not found:
        return model
    moved = {node.output[0] for node in chain.from_iterable(found.values())}
    for node in edit.old_nodes:
        if node.output[0] in found:
            back, rows = found[node.output[0]]
            values = edit.add("QuantizeLinear", [back.input[0], *node.input[1:]], f"{back.input[0]}.uint8")
            turned = edit.add("Transpose", [values], f"{back.output[0]}.uint8", perm=_perm(back))
            edit.add("Reshape", [turned, rows.input[1]], node.output[0])
        elif node.output[0] not in moved:
            edit.keep(node)
    return edit.result()


def _one_scale(edit: GraphEdit, node: NodeProto) -> bool:
    scale = edit.values(node.input[1])
    return scale is not None and scale.ndim == 0


def _perm(node: NodeProto) -> list[int]:
    return next((list(helper.get_attribute_value(a)) for a in node.attribute if a.name == "perm"), [])
