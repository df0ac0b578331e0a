"""The torch network and its export, on tiny random weights."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from schemas.errors import ModelError  # noqa: E402
from tests.training.tiny import tiny_network  # noqa: E402
from training import export, network  # noqa: E402
from training.batches import padded  # noqa: E402
from training.network import HeadKind, Network  # noqa: E402
from training.quantize import Quantization, quantize  # noqa: E402

ROWS = [[0, 5, 6, 7, 2], [0, 9, 2], [0, *range(10, 30), 2], [0, 2]]


@pytest.fixture(params=list(HeadKind))
def tiny(request: pytest.FixtureRequest) -> Network:
    return tiny_network(request.param).eval()


def _run(model: "onnx.ModelProto", rows: list[list[int]], extra: int = 0) -> list[np.ndarray]:
    ids, mask = (np.pad(part.numpy(), ((0, 0), (0, extra))) for part in padded(rows, 0))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: list[np.ndarray] = session.run(list(export.OUTPUTS), {"input_ids": ids, "attention_mask": mask})
    return found


def test_the_graph_computes_what_torch_computes(tiny: Network) -> None:
    with torch.no_grad():
        expected = tiny(*padded(ROWS, 0))
    embedding, logits = _run(export.to_onnx(tiny), ROWS)
    np.testing.assert_allclose(expected.embedding.numpy(), embedding, atol=2e-6)
    np.testing.assert_allclose(expected.logits.numpy(), logits, atol=2e-6)


def test_a_graph_of_pairs_takes_token_types(tiny: Network) -> None:
    # Given two rows whose second half is of type 1
    ids, mask = padded(ROWS, 0)
    types = (torch.arange(ids.shape[1]) > 2).long().expand_as(ids)
    with torch.no_grad():
        expected, plain = tiny(ids, mask, types).logits, tiny(ids, mask).logits
    # When the exported graph gets them
    session = onnxruntime.InferenceSession(
        export.to_onnx(tiny, pairs=True, outputs=("logits",)).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    feed = {"input_ids": ids.numpy(), "attention_mask": mask.numpy(), "token_type_ids": types.numpy()}
    [logits] = session.run(None, feed)
    # Then it uses them as torch does, and they matter
    np.testing.assert_allclose(expected.numpy(), logits, atol=2e-6)
    assert float((expected - plain).abs().max()) > 1e-3


def test_an_activation_without_a_batch_invariant_form_is_refused_by_name(tiny: Network) -> None:
    tiny.trunk.config.hidden_act = "silu"
    with pytest.raises(ModelError, match="hidden_act: is 'silu'"):
        export.to_onnx(tiny)


def test_the_quantized_graph_gives_a_text_the_same_alone_in_a_batch_and_padded(tiny: Network) -> None:
    # Given the INT8 graph
    model = quantize(export.to_onnx(tiny), Quantization(min_matrix_elements=1, min_table_elements=1))
    # When every text runs alone, with the others, and with more padding
    alone = [np.concatenate(parts) for parts in zip(*(_run(model, [row]) for row in ROWS), strict=True)]
    for extra in (0, 1, 7, 15):
        together = _run(model, ROWS, extra)
        # Then outputs agree to the last bits
        for expected, actual in zip(alone, together, strict=True):
            np.testing.assert_allclose(expected, actual, rtol=0, atol=1e-6)


def test_what_is_saved_is_what_is_loaded(tiny: Network, tmp_path: Path) -> None:
    network.save(tiny, tmp_path)
    with torch.no_grad():
        expected, actual = tiny(*padded(ROWS, 0)), network.load(tmp_path).eval()(*padded(ROWS, 0))
    assert torch.equal(expected.logits, actual.logits)
    assert torch.equal(expected.embedding, actual.embedding)


def test_a_missing_tensor_is_named(tiny: Network, tmp_path: Path) -> None:
    network.save(tiny, tmp_path)
    state = network.load_file(tmp_path / network.WEIGHTS_FILE)
    del state["head.out.bias"]
    network.save_file(state, tmp_path / network.WEIGHTS_FILE)
    with pytest.raises(RuntimeError, match=r"head\.out\.bias"):
        network.load(tmp_path)
