"""INT8 graphs: close to the float graph, and a row's result does not depend on the rows beside it."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from training.quantize import Quantization, quantize, quantized_columns  # noqa: E402

VOCAB, HIDDEN, OUT = 50, 64, 48
SMALL = Quantization(min_matrix_elements=1, min_table_elements=1)


def _graph() -> "onnx.ModelProto":
    """ids [B, T] to two products of the same embedding (one MatMul, one Gemm with a bias), [B*T, OUT]."""
    rng = np.random.default_rng(1)
    constants = {
        "table": rng.normal(size=(VOCAB, HIDDEN)),
        "left": rng.normal(size=(HIDDEN, OUT)),
        "right": rng.normal(size=(OUT, HIDDEN)),
        "bias": rng.normal(size=OUT),
    }
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["words"]),
        helper.make_node("Reshape", ["words", "shape"], ["rows"]),
        helper.make_node("MatMul", ["rows", "left"], ["a"]),
        helper.make_node("Gemm", ["rows", "right", "bias"], ["b"], transB=1),
        helper.make_node("Add", ["a", "b"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "two_products",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "tokens"])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["rows", OUT])],
        [numpy_helper.from_array(values.astype(np.float32), name) for name, values in constants.items()]
        + [numpy_helper.from_array(np.array([-1, HIDDEN]), "shape")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _run(model: "onnx.ModelProto", ids: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"ids": ids})[0]


@pytest.mark.parametrize("levels", [63, 127])
def test_a_row_alone_and_beside_others_gives_exactly_the_same(levels: int) -> None:
    # Given a quantized graph and sixty texts of three tokens
    model = quantize(_graph(), Quantization(levels, min_matrix_elements=1, min_table_elements=1))
    ids = np.random.default_rng(2).integers(0, VOCAB, (60, 3))
    # When they run together and one by one
    together = _run(model, ids)
    alone = np.concatenate([_run(model, row[None]) for row in ids])
    # Then nothing differs
    np.testing.assert_array_equal(alone, together)


def test_the_integer_graph_stays_close_to_the_float_graph() -> None:
    ids = np.random.default_rng(3).integers(0, VOCAB, (40, 4))
    expected = _run(_graph(), ids)
    actual = _run(quantize(_graph(), SMALL), ids)
    assert 0.03 > np.abs(expected - actual).mean() / np.abs(expected).mean()


def test_products_of_one_tensor_share_its_quantization_and_no_float_weight_is_left() -> None:
    model = quantize(_graph(), SMALL)
    operators = [node.op_type for node in model.graph.node]
    assert (1, 2) == (operators.count("QuantizeLinear"), operators.count("MatMulIntegerToFloat"))
    large_floats = [
        tensor.name
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) > VOCAB
    ]
    assert [] == large_floats


def test_a_column_of_zeros_stays_zero() -> None:
    weights, scale = quantized_columns(np.zeros((4, 2), np.float32), 127)
    assert 0 == np.abs(weights).max()
    assert (scale > 0).all()
