"""Runs of like length: everything runs once, within the budget, and comes back in its place."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from schemas.errors import InferenceError, ModelError
from tests.models import WIDTH, head_weights, table, tiny_graph
from worker.inference.engine import EMBEDDING, LOGITS, Engine

VOCABULARY = 30


@pytest.fixture
def graph_file(tmp_path):
    def save(graph: onnx.ModelProto):
        onnx.save(graph, tmp_path / "model.onnx")
        return tmp_path / "model.onnx"

    return save


def sequences_of(lengths: list[int]) -> list[np.ndarray]:
    generator = np.random.default_rng(1)
    return [generator.integers(0, VOCABULARY, length).astype(np.int32) for length in lengths]


@pytest.mark.parametrize(
    "inputs",
    [
        ("input_ids", "attention_mask"),
        ("input_ids", "attention_mask", "token_type_ids"),
        ("input_ids",),
    ],
)
def test_rows_come_back_in_order_whatever_inputs_the_graph_has(graph_file, inputs):
    # Given sequences of mixed length and a graph whose answer can be worked out by hand
    engine = Engine(graph_file(tiny_graph(VOCABULARY, inputs=inputs)), run_tokens=64)
    lengths = [3, 17, 1, 70, 9, 3, 17] if "attention_mask" in inputs else [9] * 7
    sequences = sequences_of(lengths)
    # when they are run
    rows = engine.run(sequences)
    # then each row is its own sequence's
    means = np.stack([table(VOCABULARY)[sequence].mean(axis=0) for sequence in sequences])
    np.testing.assert_allclose(means / np.linalg.norm(means, axis=1, keepdims=True), rows[EMBEDDING], atol=1e-6)
    np.testing.assert_allclose(means @ head_weights(), rows[LOGITS], atol=1e-5)


def test_tokens_of_the_second_text_of_a_pair_are_of_type_1(graph_file):
    # Given a graph that reads a token of type 1 as the token after it
    engine = Engine(
        graph_file(tiny_graph(VOCABULARY + 1, inputs=("input_ids", "attention_mask", "token_type_ids"))), run_tokens=64
    )
    pairs = sequences_of([9, 4, 30, 4])
    first_tokens = [5, 4, 1, 0]
    # when pairs are run, then it is as if the second part had been written so
    rows = engine.run(pairs, first_tokens)[EMBEDDING]
    shifted = [ids + (np.arange(len(ids)) >= first) for ids, first in zip(pairs, first_tokens, strict=True)]
    np.testing.assert_allclose(engine.run(shifted)[EMBEDDING], rows, atol=1e-6)


def test_a_token_that_the_model_does_not_have_is_an_inference_error(graph_file):
    engine = Engine(graph_file(tiny_graph(VOCABULARY)), run_tokens=64)
    with pytest.raises(InferenceError, match="1 x 2 tokens"):
        engine.run([np.array([1, 99], dtype=np.int32)])


def test_an_answer_that_is_not_finite_is_an_inference_error(graph_file):
    graph = tiny_graph(VOCABULARY)
    broken = head_weights()
    broken[0, 0] = np.nan
    graph.graph.initializer[1].CopyFrom(onnx.numpy_helper.from_array(broken, "head"))
    with pytest.raises(InferenceError, match="no finite logits"):
        Engine(graph_file(graph), run_tokens=64).run(sequences_of([4]))


def test_a_file_that_onnx_runtime_refuses_is_a_model_error(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x3a\x00")
    with pytest.raises(ModelError, match=r"model\.onnx: ONNX Runtime refuses it"):
        Engine(path, run_tokens=64)


def test_a_graph_that_wants_something_else_is_a_model_error(graph_file):
    graph = tiny_graph(VOCABULARY)
    graph.graph.input[1].name = "pixels"
    for node in graph.graph.node:
        node.input[:] = ["pixels" if name == "attention_mask" else name for name in node.input]
    with pytest.raises(ModelError, match="pixels"):
        Engine(graph_file(graph), run_tokens=64)


def test_a_graph_that_gives_something_else_is_a_model_error(graph_file):
    graph = tiny_graph(VOCABULARY)
    del graph.graph.output[:]
    graph.graph.output.add().CopyFrom(onnx.helper.make_tensor_value_info("mean", onnx.TensorProto.FLOAT, ["B", WIDTH]))
    with pytest.raises(ModelError, match="neither 'embedding' nor 'logits'"):
        Engine(graph_file(graph), run_tokens=64)


def test_a_provider_that_is_not_installed_is_refused_with_the_package_that_has_it() -> None:
    with pytest.raises(ModelError, match=r"FENLIU_PROVIDER is 'openvino'.*put onnxruntime-openvino in the place of"):
        Engine(Path("model.onnx"), run_tokens=64, provider="openvino")


def test_a_provider_that_nobody_knows_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ModelError, match=r"FENLIU_PROVIDER is 'abacus'; known: cpu, openvino"):
        Engine(Path("model.onnx"), run_tokens=64, provider="abacus")
