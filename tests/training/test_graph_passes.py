"""Passes over quantized graphs: faster, and nothing that they compute changes."""

import functools
from collections import Counter

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from benchmarks.encoder_graph import VOCABULARY, Parts, Shape, encoder  # noqa: E402
from training import graph_passes  # noqa: E402
from training.activation_ranges import feed  # noqa: E402
from training.quantize import Quantization, quantize  # noqa: E402

SHAPE = Shape("small", 2, 64, 4, 96)
LENGTHS = (3, 17, 8, 1, 30)
PASSES = {
    "clipped_scores": graph_passes.clipped_scores,
    "tokens_first": graph_passes.tokens_first,
    "quantized_heads": graph_passes.quantized_heads,
    "clipped, then tokens first": lambda model: graph_passes.tokens_first(graph_passes.clipped_scores(model)),
    "quantized, then tokens first": lambda model: graph_passes.tokens_first(graph_passes.quantized_heads(model)),
}


def _texts() -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    return [rng.integers(5, VOCABULARY, length) for length in LENGTHS]


def _feeds() -> list[dict[str, np.ndarray]]:
    return [feed(np.random.default_rng(3).integers(5, VOCABULARY, 24)) for _ in range(4)]


@functools.cache
def _quantized(parts: Parts | None = None, *, improve: bool = False) -> "onnx.ModelProto":
    return quantize(encoder(SHAPE, parts), Quantization(min_matrix_elements=1, improve=improve), _feeds())


def _run(model: "onnx.ModelProto", texts: list[np.ndarray], length: int) -> list[np.ndarray]:
    ids = np.ones((len(texts), length), np.int64)
    mask = np.zeros_like(ids)
    for row, text in enumerate(texts):
        ids[row, : len(text)], mask[row, : len(text)] = text, 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"input_ids": ids, "attention_mask": mask})


def _count(model: "onnx.ModelProto") -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


@pytest.mark.parametrize("name", PASSES)
def test_a_pass_changes_the_graph_and_not_what_it_computes(name: str) -> None:
    # Given a quantized graph, and texts of several lengths together
    model = _quantized()
    expected = _run(model, _texts(), max(LENGTHS))
    # When a pass goes over it
    passed = PASSES[name](model)
    # Then it is another graph, a valid one, with the same results
    onnx.checker.check_model(passed)
    assert model.SerializeToString() != passed.SerializeToString()
    for before, after in zip(expected, _run(passed, _texts(), max(LENGTHS)), strict=True):
        np.testing.assert_allclose(after, before, atol=1e-5)


@pytest.mark.parametrize("name", PASSES)
def test_behind_a_pass_a_text_gives_the_same_alone_and_padded_beside_others(name: str) -> None:
    passed = PASSES[name](_quantized())
    together = _run(passed, _texts(), max(LENGTHS) + 9)
    for number, text in enumerate(_texts()):
        for alone, row in zip(_run(passed, [text], len(text)), together, strict=True):
            np.testing.assert_allclose(alone[0], row[number], atol=1e-6)


def test_quantizing_applies_the_passes() -> None:
    # Given the same graph quantized without and with them
    before, after = _count(_quantized()), _count(_quantized(improve=True))
    # Then of four Transposes a layer one is left, plus those of embeddings, states, mask and ones
    assert (8, 6) == (before["Transpose"], after["Transpose"])
    assert (2, 2) == (before["Exp"], after["Clip"])
    # And no row of scores is searched for its largest: what is left are the rows behind GELU
    assert (4, 2) == (before["ReduceMax"], after["ReduceMax"])


def test_without_calibration_texts_each_rows_largest_score_is_still_subtracted() -> None:
    model = quantize(encoder(SHAPE), Quantization(min_matrix_elements=1))
    assert (0, 4) == (_count(model)["Clip"], _count(model)["FusedMatMul"])


def test_scores_too_large_for_clipping_keep_their_subtraction(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a bound that the scores of the calibration texts exceed
    model = _quantized()
    largest = graph_passes.largest_score(model, _feeds())
    monkeypatch.setattr(graph_passes, "MOST_SEEN", largest * 0.99)
    # When every pass goes over the graph, then clipping is left out
    assert 0 < largest
    assert 0 == _count(graph_passes.improved(model, _feeds()))["Clip"]


@pytest.mark.parametrize("attention", ["softmax", "multi_head"])
def test_attention_of_another_form_is_left_as_it_is(attention: str) -> None:
    model = _quantized(Parts(attention=attention))
    assert model is graph_passes.clipped_scores(model)
    assert model is graph_passes.tokens_first(model)
