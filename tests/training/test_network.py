"""The torch model, its export and its training, on a tiny random encoder."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from training import encoder, export  # noqa: E402
from training.examples import NO_LABEL, Example  # noqa: E402
from training.finetune import Finetuning, LowerStates, Plan, outputs, padded  # noqa: E402
from training.quantize import Quantization, quantize  # noqa: E402

ROWS = [[0, 5, 6, 7, 2], [0, 9, 2], [0, *range(10, 30), 2], [0, 2]]


@pytest.fixture
def tiny() -> encoder.Encoder:
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=64,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=40,
        initializer_range=0.3,
    )
    trunk = transformers.BertModel(config, add_pooling_layer=False)
    return encoder.Encoder(trunk, encoder.SentimentHead(32)).eval()


def _run(model: "onnx.ModelProto", rows: list[list[int]], extra: int = 0) -> list[np.ndarray]:
    ids, mask = (np.pad(part.numpy(), ((0, 0), (0, extra))) for part in padded(rows))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(list(export.OUTPUTS), {"input_ids": ids, "attention_mask": mask})


def test_the_graph_computes_what_torch_computes(tiny: encoder.Encoder) -> None:
    with torch.no_grad():
        expected = tiny(*padded(ROWS))
    for wanted, actual in zip(expected, _run(export.to_onnx(tiny), ROWS), strict=True):
        np.testing.assert_allclose(wanted.numpy(), actual, atol=2e-6)


def test_the_quantized_graph_gives_a_text_the_same_alone_in_a_batch_and_padded(tiny: encoder.Encoder) -> None:
    # Given the INT8 graph
    model = quantize(export.to_onnx(tiny), Quantization(min_matrix_elements=1, min_table_elements=1))
    # When every text runs alone, with the others, and with more padding
    alone = [np.concatenate(parts) for parts in zip(*(_run(model, [row]) for row in ROWS), strict=True)]
    for extra in (0, 1, 7, 15):
        together = _run(model, ROWS, extra)
        # Then outputs agree to the last bits
        for expected, actual in zip(alone, together, strict=True):
            np.testing.assert_allclose(expected, actual, rtol=0, atol=1e-6)


def test_the_two_halves_of_the_pass_make_the_whole(tiny: encoder.Encoder) -> None:
    lower = LowerStates(tiny, ROWS, 2)
    with torch.no_grad():
        expected = tiny(*padded(ROWS))[0]
        actual = tiny.upper(*lower.batch([2, 0, 3, 1]), 2)[0]
    np.testing.assert_allclose(expected[[2, 0, 3, 1]], actual, atol=0.05)


def test_training_learns_goes_on_from_its_checkpoint_and_leaves_fixed_layers_alone(
    tiny: encoder.Encoder, tmp_path: Path
) -> None:
    # Given texts whose second token decides the label, and the embeddings they have now
    rng = np.random.default_rng(0)
    rows = [[0, 5 + label, *rng.integers(10, 60, 6).tolist(), 2] for label in (0, 1) * 80]
    examples = [Example("", "", label) for label in (0, 1) * 80]
    examples[0] = Example("", "", NO_LABEL)
    targets, _ = outputs(tiny, rows)
    first = {name: value.clone() for name, value in tiny.trunk.encoder.layer[0].state_dict().items()}
    plan = Plan(epochs=20, frozen_layers=1, trunk_rate=3e-3, head_rate=3e-3, checkpoint_steps=1, embedding_weight=0.01)
    said: list[str] = []
    # When a run is stopped after its first epoch and another goes on
    run = Finetuning(tiny, rows, examples, targets, plan=plan, checkpoint=tmp_path / "run.pt", say=said.append)

    def stop(epoch: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.run(stop)
    again = Finetuning(tiny, rows, examples, targets, plan=plan, checkpoint=tmp_path / "run.pt", say=said.append)
    again.run(lambda epoch: None)
    # Then the second began where the first had ended, the labels are learnt, and the first layer is as it was
    assert "resumed at step 5" in said
    _, logits = outputs(tiny, rows)
    assert 0.9 < (logits.argmax(1)[1:] == np.array([0, 1] * 80)[1:]).mean()
    for name, value in tiny.trunk.encoder.layer[0].state_dict().items():
        assert torch.equal(first[name], value)


def test_what_is_saved_is_what_is_loaded(tiny: encoder.Encoder, tmp_path: Path) -> None:
    encoder.save(tiny, tmp_path)
    with torch.no_grad():
        expected, actual = tiny(*padded(ROWS)), encoder.load(tmp_path).eval()(*padded(ROWS))
    assert torch.equal(expected[1], actual[1])
