"""Where the attention of a graph's layers is: the nodes between the products of query, key and value and the context.

As `training.export` writes it: softmax as exp(scores - the row's largest), its sums a column of ones beside the values.
What is made of it is `training.graph_passes`'.
"""

from __future__ import annotations

from dataclasses import dataclass

from onnx import NodeProto

from training.graph_edit import GraphEdit


@dataclass(frozen=True)
class Attention:
    """One layer's. Rows [N, H] of all heads: `query`, `key`, `value` name them; `context` is the node that makes them.

    `split`: the name of the shape [B, T, heads, width]. `scores` names the bare products of queries and keys, `limited`
    what goes into Exp, `weights` what comes out of it, `ones` [B, heads, T, 1] the column beside the values.
    `transposes` and `products` are the nodes that bring heads forward, and the two products, in the graph's order.
    """

    query: str
    key: str
    value: str
    split: str
    scores: str
    limited: str
    weights: str
    ones: str
    transposes: tuple[NodeProto, NodeProto, NodeProto]
    products: tuple[NodeProto, NodeProto]
    beside: NodeProto
    forward: NodeProto
    context: NodeProto


def find(edit: GraphEdit) -> list[Attention]:
    """Every layer's attention of that form, in the graph's order; of another form nothing."""
    found = [_read(edit, node) for node in edit.old_nodes if node.op_type == "Exp"]
    return [attention for attention in found if attention is not None]


def _read(edit: GraphEdit, exp: NodeProto) -> Attention | None:
    scores = _bare(edit, exp.input[0])
    first = edit.maker(scores, "MatMul")
    summed = [node for node in edit.readers(exp.output[0]) if node.op_type == "MatMul"]
    if first is None or len(summed) != 1:
        return None
    beside = edit.maker(summed[0].input[1], "Concat")
    if beside is None:
        return None
    heads = [edit.maker(name, "Transpose") for name in (*first.input, beside.input[0])]
    shaped = [edit.maker(node.input[0], "Reshape") if node is not None else None for node in heads]
    context = _context(edit, summed[0])
    if context is None or any(node is None for node in (*heads, *shaped)):
        return None
    query, key, value = (node for node in shaped if node is not None)
    transposes = tuple(node for node in heads if node is not None)
    assert len(transposes) == 3  # noqa: S101 - tells the type checker what was asked above
    return Attention(
        query.input[0],
        key.input[0],
        value.input[0],
        query.input[1],
        scores,
        exp.input[0],
        exp.output[0],
        beside.input[1],
        transposes,
        (first, summed[0]),
        beside,
        *context,
    )


def _bare(edit: GraphEdit, limited: str) -> str:
    """Scores before mask and largest are taken off, or before they are clipped."""
    if clip := edit.maker(limited, "Clip"):
        return str(clip.input[0])
    without_largest = edit.maker(limited, "Sub")
    masked = edit.maker(without_largest.input[0], "Add") if without_largest is not None else None
    return str(masked.input[0]) if masked is not None else ""


def _context(edit: GraphEdit, summed: NodeProto) -> tuple[NodeProto, NodeProto] | None:
    """Behind the division by the sums: the Transpose that takes the heads back, and the Reshape to rows."""
    parts = [name for node in edit.readers(summed.output[0]) for name in node.output]
    divided = next((node for name in parts for node in edit.readers(name) if node.op_type == "Div"), None)
    if divided is None:
        return None
    tensor = divided.output[0]
    behind = edit.readers(tensor)
    if len(behind) == 1 and behind[0].op_type == "QuantizeLinear":
        tensor = behind[0].output[0]
    back = next((node for node in edit.readers(tensor) if node.op_type == "Transpose"), None)
    rows = next((node for node in edit.readers(back.output[0]) if node.op_type == "Reshape"), None) if back else None
    return (back, rows) if back is not None and rows is not None else None
