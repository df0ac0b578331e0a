"""Bases: whatever a user names gives the network and tokenizer that are there, and the weights of a graph come back."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from schemas.errors import ModelError  # noqa: E402
from schemas.manifest import ModelKind, Source  # noqa: E402
from schemas.names import Task  # noqa: E402
from tests.models import tiny_tokenizer  # noqa: E402
from tests.training.toys import BAD, GOOD, toy_base, toy_network  # noqa: E402
from training import export  # noqa: E402
from training.activation_ranges import feed  # noqa: E402
from training.bases import Base, load_base, save_base, token_limit, with_labels  # noqa: E402
from training.batches import padded  # noqa: E402
from training.graph_weights import read_network  # noqa: E402
from training.network import HeadKind, Network  # noqa: E402
from training.publish import Draft, publish  # noqa: E402
from training.quantize import Quantization, quantize  # noqa: E402

ROWS = [[0, 5, 6, 7, 2], [0, 9, 2], [0, *range(10, 30), 2], [0, 30, 31, 5, 5, 2]]


def _logits(model: Network) -> np.ndarray:
    with torch.no_grad():
        return model.eval()(*padded(ROWS, 1)).logits.numpy()


def _graph_logits(graph: "onnx.ModelProto") -> np.ndarray:
    ids, mask = (part.numpy() for part in padded(ROWS, 1))
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]


@pytest.mark.parametrize("kind", list(HeadKind))
@pytest.mark.parametrize("hidden", [32, 64])
def test_weights_come_back_from_a_float_graph_as_they_were(kind: HeadKind, hidden: int, tmp_path: Path) -> None:
    # Given a network as FP32 ONNX
    model = toy_network(3, kind, hidden)
    onnx.save(export.to_onnx(model), tmp_path / "model.onnx")
    # When it is read back
    back = read_network(tmp_path / "model.onnx", 1)
    # Then it has the same shape and gives the same logits
    names = ("num_attention_heads", "num_hidden_layers", "intermediate_size", "max_position_embeddings")
    assert [getattr(model.trunk.config, n) for n in names] == [getattr(back.trunk.config, n) for n in names]
    np.testing.assert_allclose(_logits(model), _logits(back), atol=1e-6)


@pytest.mark.parametrize("calibrated", [False, True])
def test_weights_come_back_from_an_int8_graph_close_to_what_it_computes(calibrated: bool, tmp_path: Path) -> None:
    # Given a network in INT8; with static scales one of its norms makes a column that goes into the weights
    model = toy_network(3)
    with torch.no_grad():
        model.trunk.encoder.layer[0].attention.output.LayerNorm.weight[3] = 30.0
    feeds = [feed(np.array(row)) for row in ROWS] if calibrated else None
    settings = Quantization(63, min_matrix_elements=1, min_table_elements=1)
    graph = quantize(export.to_onnx(model), settings, feeds)
    assert calibrated == any(tensor.name.endswith(".inverse") for tensor in graph.graph.initializer)
    onnx.save(graph, tmp_path / "model.onnx")
    # When it is read back
    expected, actual = _graph_logits(graph), _logits(read_network(tmp_path / "model.onnx", 1))
    # Then its logits are near the graph's
    assert 0.1 > np.abs(expected - actual).max() / expected.std()


def test_small_changes_to_weights_from_int8_survive_int8(tmp_path: Path) -> None:
    # Given weights that come back from an INT8 graph
    graph = quantize(export.to_onnx(toy_network(3)), Quantization(63, min_matrix_elements=1, min_table_elements=1))
    onnx.save(graph, tmp_path / "model.onnx")
    weight = read_network(tmp_path / "model.onnx", 1).trunk.encoder.layer[0].intermediate.dense.weight
    matrix = weight.detach().numpy().T
    step = np.abs(matrix).max(0) / 63
    # When all move by a fifth of a step, as training moves them, and are rounded again
    before, after = (np.rint(values / step) for values in (matrix, matrix + 0.2 * step))
    # Then on average they have moved by as much
    assert 0.2 == pytest.approx((after - before).mean(), abs=0.05)


def test_the_shipped_model_taken_back_labels_texts_as_its_graph_does() -> None:
    # Given the shipped model, which has no torch/
    from training.batches import encode, outputs
    from training.runner import Runner
    from worker.inference.folder import find, shipped_home

    texts = [
        "物流太慢了，差评",
        "很好用，喜欢！",
        "房间干净，服务热情",
        "垃圾，千万别买",
        "东西不错，下次还来。",
        "屏幕两天就坏了",
    ]
    base = load_base("fenliu-e5", (shipped_home(),), Path("nowhere"))
    # When its network reads texts, and its graph
    _, logits = outputs(base.network, encode(base.tokenizer, texts, 64))
    folder = find("fenliu-e5", (shipped_home(),))
    graph = Runner(folder / "model.onnx", folder / "tokenizer.json", 64, 1).outputs(texts)["logits"]
    # Then the labels are the same and the logits close
    assert graph.argmax(1).tolist() == logits.argmax(1).tolist()
    np.testing.assert_allclose(graph, logits, atol=0.15)
    assert ("negative", "positive") == tuple(sorted(base.labels))


def test_a_graph_of_another_maker_is_refused(tmp_path: Path) -> None:
    graph = export.to_onnx(toy_network())
    for tensor in graph.graph.initializer:
        if tensor.name == "trunk.positions":
            tensor.name = "positions"
    onnx.save(graph, tmp_path / "model.onnx")
    with pytest.raises(ModelError, match=r"has no constant 'trunk\.positions'; only graphs that Fenliu exported"):
        read_network(tmp_path / "model.onnx", 1)


def _published(folder: Path) -> Path:
    tiny_tokenizer().save(str(folder / "tokenizer.json"))
    draft = Draft(
        name="made",
        kind=(ModelKind.CLASSIFIER,),
        tasks=(Task.SENTIMENT,),
        labels=(GOOD, BAD),
        max_tokens=40,
        source=Source(description="made by a test", licence="MIT"),
        licence="MIT",
    )
    return publish(
        toy_network(), folder / "tokenizer.json", draft,
        precision="int8", models=folder / "models", check_texts=["很好"], say=lambda line: None,
    )  # fmt: skip


def test_a_model_is_found_by_name_by_folder_and_by_its_torch_folder(tmp_path: Path) -> None:
    # Given a published model
    folder = _published(tmp_path)
    expected = _logits(toy_network())
    # When it is named in each way
    for given in ("made", "made/1", str(folder), str(folder / "torch")):
        base = load_base(given, (tmp_path / "models",), tmp_path)
        # Then it is its torch/ that is loaded, with its labels
        np.testing.assert_array_equal(expected, _logits(base.network))
        assert (GOOD, BAD) == base.labels
        assert "made/1, its torch/" == base.way


def test_an_adapted_base_is_found_by_name_and_knows_no_labels(tmp_path: Path) -> None:
    save_base(tmp_path / "bases" / "shop", toy_base(), toy_network())
    base = load_base("shop", (), tmp_path / "bases")
    np.testing.assert_array_equal(_logits(toy_network()), _logits(base.network))
    assert () == base.labels


def test_a_transformers_folder_is_a_base(tmp_path: Path) -> None:
    # Given a folder that transformers wrote, with BERT's vocabulary
    torch.manual_seed(0)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"物流太慢很好用的货"]
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=40,
    )  # fmt: skip
    model = transformers.BertModel(config)
    model.save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n", "utf-8")
    # When it is loaded, then its network computes what transformers' does, its tokens are BERT's, and it has no labels
    base = load_base(str(tmp_path), (), tmp_path / "bases")
    ids = torch.tensor([base.tokenizer.encode("物流太慢").ids])
    assert [2, 5, 6, 7, 8, 3] == ids[0].tolist()
    with torch.no_grad():
        expected = model.eval()(ids).last_hidden_state
        actual = base.network.eval()(ids, torch.ones_like(ids)).states
    torch.testing.assert_close(expected, actual)
    assert () == base.labels


@pytest.mark.parametrize(
    ("given", "said"), [("nothing", "there is no model 'nothing'"), (".", "is no base: it has no manifest.json")]
)
def test_what_is_no_base_is_said(given: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=said):
        load_base(given, (tmp_path,), tmp_path)


def _labelled(labels: tuple[str, ...]) -> Base:
    return toy_base(toy_network(len(labels)), labels)


def test_a_head_for_the_same_labels_is_kept_in_their_new_order() -> None:
    expected = _logits(toy_network(2))[:, [1, 0]]
    np.testing.assert_allclose(expected, _logits(with_labels(_labelled((GOOD, BAD)), (BAD, GOOD), 7)), atol=1e-6)


def test_a_head_for_other_labels_is_new_but_for_its_first_layer_and_the_same_for_the_same_seed() -> None:
    first, again, other = (with_labels(_labelled((GOOD, BAD)), ("a", "b", "c"), seed) for seed in (7, 7, 8))
    assert 3 == first.n_labels
    assert torch.equal(toy_network().head.dense.weight, first.head.dense.weight)
    assert torch.equal(first.head.out.weight, again.head.out.weight)
    assert not torch.equal(first.head.out.weight, other.head.out.weight)


def test_more_tokens_than_the_base_has_positions_are_refused() -> None:
    assert 40 == token_limit(toy_base(), None)
    with pytest.raises(ModelError, match="--max-tokens: 41 is over the 40 positions of toy"):
        token_limit(toy_base(), 41)
