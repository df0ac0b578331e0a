"""INT8 graphs: close to the float graph, and a row's result does not depend on the rows beside it."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from training.quantize import Quantization, column_scales, quantize  # noqa: E402
from training.rounding import compensated, nearest  # noqa: E402

VOCAB, HIDDEN, OUT = 50, 64, 48
SMALL = Quantization(min_matrix_elements=1, min_table_elements=1)
HUGE_COLUMN = 3


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


def _encoder() -> "onnx.ModelProto":
    """ids [B, T] through LayerNormalization with one huge column, a product, GELU and another product, [B*T, OUT]."""
    rng = np.random.default_rng(4)
    gain = np.ones(HIDDEN)
    gain[HUGE_COLUMN] = 40.0
    constants = {
        "table": rng.normal(size=(VOCAB, HIDDEN)),
        "gain": gain,
        "shift": rng.normal(size=HIDDEN) * 0.1,
        "up": rng.normal(size=(OUT, HIDDEN)) / HIDDEN**0.5,
        "up_bias": rng.normal(size=OUT),
        "down": rng.normal(size=(OUT, OUT)) / OUT**0.5,
        "down_bias": rng.normal(size=OUT),
    }
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["words"]),
        helper.make_node("LayerNormalization", ["words", "gain", "shift"], ["normed"], axis=-1),
        helper.make_node("Reshape", ["normed", "shape"], ["rows"]),
        helper.make_node("Gemm", ["rows", "up", "up_bias"], ["inner"], transB=1),
        helper.make_node("Gelu", ["inner"], ["active"]),
        helper.make_node("Gemm", ["active", "down", "down_bias"], ["out"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "tokens"])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["rows", OUT])],
        [numpy_helper.from_array(values.astype(np.float32), name) for name, values in constants.items()]
        + [numpy_helper.from_array(np.array([-1, HIDDEN]), "shape")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _texts(seed: int, count: int = 40) -> list[dict[str, np.ndarray]]:
    return [{"ids": row[None]} for row in np.random.default_rng(seed).integers(0, VOCAB, (count, 4))]


def _error(expected: np.ndarray, actual: np.ndarray) -> float:
    return float(np.abs(expected - actual).mean() / np.abs(expected).mean())


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
    assert 0.03 > _error(expected, actual)


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
    zeros = np.zeros((4, 2), np.float32)
    scales = column_scales(zeros, 127)
    assert (scales > 0).all()
    assert 0 == np.abs(nearest(zeros, scales, 127)).max()


def test_rounding_by_the_inputs_correlations_keeps_products_closer() -> None:
    # Given inputs whose columns go together, more columns than a block has
    rng = np.random.default_rng(11)
    rows = (rng.normal(size=(2000, 40)) @ rng.normal(size=(40, 300)) + rng.normal(size=(2000, 300))).astype(np.float32)
    matrix = rng.normal(size=(300, OUT)).astype(np.float32)
    scales = column_scales(matrix, 63)
    # When the matrix is rounded to the nearest, and by the inputs' gram
    plain, better = nearest(matrix, scales, 63), compensated(matrix, scales, 63, rows.T @ rows)
    # Then the products are at least twice as close, within the same levels
    assert _error(rows @ matrix, rows @ (plain * scales)) / 2 > _error(rows @ matrix, rows @ (better * scales))
    assert 63 == np.abs(better).max()


def test_rounding_copes_with_inputs_that_never_occur() -> None:
    # Given a gram whose column is all zeros
    matrix = np.random.default_rng(12).normal(size=(8, 3)).astype(np.float32)
    gram = np.diag([1.0] * 7 + [0.0])
    scales = column_scales(matrix, 63)
    np.testing.assert_array_equal(nearest(matrix, scales, 63), compensated(matrix, scales, 63, gram))


@pytest.mark.parametrize("calibrated", [False, True])
@pytest.mark.parametrize("levels", [63, 127])
def test_with_and_without_calibration_a_text_gives_the_same_alone_and_beside_others(
    levels: int, calibrated: bool
) -> None:
    # Given an encoder quantized with and without calibration texts, and texts that it was not calibrated on
    settings = Quantization(levels, min_matrix_elements=1, min_table_elements=1)
    model = quantize(_encoder(), settings, _texts(5) if calibrated else None)
    ids = np.random.default_rng(6).integers(0, VOCAB, (60, 3))
    # When they run together and one by one
    alone = np.concatenate([_run(model, row[None]) for row in ids])
    # Then nothing differs
    np.testing.assert_array_equal(alone, _run(model, ids))


def test_calibrated_scales_are_constants_but_for_what_gelu_gives() -> None:
    model = quantize(_encoder(), SMALL, _texts(5))
    constants = {tensor.name for tensor in model.graph.initializer}
    quantizers = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    assert {"rows": True, "active": False} == {n.output[0].split(".")[0]: n.input[1] in constants for n in quantizers}
    # The calibrated product takes its bias along: what remains is one Add, behind the other.
    assert 1 == [node.op_type for node in model.graph.node].count("Add")


def test_one_huge_column_does_not_cost_the_others_their_precision() -> None:
    # Given an encoder whose normed states have one column forty times the others
    ids = np.random.default_rng(7).integers(0, VOCAB, (40, 4))
    expected = _run(_encoder(), ids)
    # When it is quantized with and without moving that column's size into the weights
    smooth = _run(quantize(_encoder(), SMALL, _texts(5)), ids)
    plain = _run(quantize(_encoder(), Quantization(63, 0.0, min_matrix_elements=1), _texts(5)), ids)
    # Then moving it leaves less than half the error
    assert _error(expected, plain) / 2 > _error(expected, smooth)


def test_rows_get_their_own_scale_where_one_for_all_would_be_too_coarse() -> None:
    # Given calibration texts, and a bound that no tensor keeps
    model = quantize(_encoder(), Quantization(most_spread=1.0, min_matrix_elements=1), _texts(5))
    # Then every scale is computed from the row
    assert 2 == [node.op_type for node in model.graph.node].count("Expand")


def test_values_beyond_all_that_calibration_saw_are_clipped_not_wrapped() -> None:
    # Given an encoder calibrated on a single text
    model = quantize(_encoder(), SMALL, _texts(5, count=1))
    # When a thousand tokens run that it has not seen
    ids = np.random.default_rng(8).integers(0, VOCAB, (1000, 1))
    # Then their results are still near the float graph's: a wrapped value would have the other sign
    expected, actual = _run(_encoder(), ids), _run(model, ids)
    assert 0.95 < np.corrcoef(expected.ravel(), actual.ravel())[0, 1]


def test_equal_matrices_that_the_exporter_stored_once_are_quantized_each_for_its_own_input() -> None:
    # Given two products with one matrix, the second behind an Identity and with another input
    model = _encoder()
    nodes = {node.output[0]: node for node in model.graph.node}
    rng = np.random.default_rng(9)
    square = numpy_helper.from_array((rng.normal(size=(HIDDEN, HIDDEN)) / HIDDEN**0.5).astype(np.float32), "square")
    model.graph.initializer.append(square)
    added = [
        helper.make_node("Identity", ["square"], ["again"]),
        helper.make_node("MatMul", ["rows", "square"], ["first"]),
        helper.make_node("MatMul", ["first", "again"], ["second"]),
    ]
    nodes["inner"].input[0] = "second"
    kept = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*kept[:3], *added, *kept[3:]])
    ids = np.random.default_rng(10).integers(0, VOCAB, (40, 4))
    expected = _run(model, ids)
    # When it is quantized, with and without calibration
    for calibration in (None, _texts(5)):
        quantized = quantize(model, SMALL, calibration)
        # Then both products are integer ones, and the graph stays close to the float one
        assert 4 == [node.op_type for node in quantized.graph.node].count("MatMulIntegerToFloat")
        assert 0.05 > _error(expected, _run(quantized, ids))
