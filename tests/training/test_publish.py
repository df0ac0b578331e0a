"""From a network to a folder that the worker loads."""

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
onnx = pytest.importorskip("onnx")
from tokenizers import processors  # noqa: E402

from schemas.errors import ModelError  # noqa: E402
from schemas.manifest import ModelKind, Source, read_manifest  # noqa: E402
from schemas.names import Task  # noqa: E402
from tests.models import tiny_tokenizer  # noqa: E402
from training import network, publish  # noqa: E402
from training.publish import Draft, add_metrics  # noqa: E402
from worker.inference.classifier import Classifier, Job  # noqa: E402

TEXTS = ["物流太慢了", "很好", "账号登录不了", "退款太慢" * 20]


def _network(n_labels: int, activation: str = "gelu") -> network.Network:
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=tiny_tokenizer().get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=40,
        initializer_range=0.3,
        hidden_act=activation,
    )
    trunk = transformers.BertModel(config, add_pooling_layer=False)
    return network.Network(trunk, network.new_head(network.HeadKind.POOLER, 32, n_labels)).eval()


def _draft(**changes: object) -> Draft:
    given: dict = {
        "name": "made",
        "kind": (ModelKind.CLASSIFIER,),
        "tasks": (Task.SENTIMENT,),
        "labels": ("bad", "middling", "good"),
        "max_tokens": 40,
        "source": Source(description="made by a test", licence="MIT"),
        "licence": "MIT",
    }
    return Draft(**(given | changes))


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    path = tmp_path / "tokenizer.json"
    tiny_tokenizer().save(str(path))
    return path


def _published(draft: Draft, tokenizer: Path, precision: publish.Precision, n_labels: int = 3) -> Path:
    models = tokenizer.parent / "models"
    return publish.publish(
        _network(n_labels),
        tokenizer,
        draft,
        precision=precision,
        models=models,
        check_texts=TEXTS,
        say=lambda line: None,
        extra_files={"report.json": b"{}"},
    )


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_published_network_is_a_model_that_answers_as_the_network_does(
    tokenizer: Path, precision: publish.Precision
) -> None:
    # Given a folder made from a network
    folder = _published(_draft(), tokenizer, precision)
    # When the product loads it and classifies
    model = Classifier.load(folder, run_tokens=512)
    found = model.classify([Job(text, True, None) for text in TEXTS[:3]])
    # Then the scores are the network's own
    original = network.load(folder / "torch").eval()
    ids = [[0, *tiny_tokenizer().encode(text, add_special_tokens=False).ids, 2] for text in TEXTS[:3]]
    for row, result in zip(ids, found, strict=True):
        with torch.inference_mode():
            row_ids = torch.tensor([row])
            expected = original(row_ids, torch.ones_like(row_ids)).logits.softmax(-1)[0].numpy()
        actual = [result.sentiment.scores[label] for label in ("bad", "middling", "good")]
        np.testing.assert_allclose(expected, actual, atol=1e-6 if precision == "fp32" else 0.05)
    # And the manifest says how near they are, and vouches for the files
    manifest = read_manifest(folder)
    assert 1e-5 > manifest.metrics["parity"]["largest_score_difference"]
    assert 1e-6 >= manifest.metrics["batch"]["largest_score_difference"]
    assert (precision == "int8") == ("int8" in manifest.metrics)
    assert {"model.onnx", "report.json", "tokenizer.json"} == set(manifest.files)


def test_a_name_that_is_taken_gets_the_next_version(tokenizer: Path) -> None:
    folders = [_published(_draft(), tokenizer, "fp32") for _ in range(2)]
    assert ["1", "2"] == [folder.name for folder in folders]
    assert ["1", "2"] == sorted(path.name for path in folders[0].parent.iterdir())


def test_figures_that_come_later_go_into_manifest_and_card(tokenizer: Path) -> None:
    # Given a published model, when it is measured
    folder = _published(_draft(), tokenizer, "fp32")
    add_metrics(folder, {"reviews": {"accuracy": 0.875, "texts": 8}}, ["## Training\n\nThree epochs."])
    # Then both say so, and the earlier figures stay
    assert {"parity", "batch", "reviews"} == set(json.loads((folder / "manifest.json").read_text())["metrics"])
    card = (folder / "MODEL_CARD.md").read_text()
    assert "| reviews | 0.8750 |" in card
    assert "Three epochs." in card


def test_a_draft_that_makes_no_manifest_is_refused_before_anything_is_written(tokenizer: Path) -> None:
    with pytest.raises(ModelError, match=r"'a b' makes no model folder: name: "):
        _published(_draft(name="a b"), tokenizer, "fp32")
    assert not (tokenizer.parent / "models").exists()


def test_an_nli_model_is_checked_on_pairs_and_needs_a_form_for_them(tokenizer: Path) -> None:
    draft = _draft(kind=(ModelKind.NLI,), tasks=(Task.ROUTING,), entailment_index=0, contradiction_index=2)
    # Given a tokenizer that keeps two texts apart, the graph takes token types and was checked on pairs
    form = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B:1 </s>:1", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    _with_form(tokenizer, form)
    folder = _published(draft, tokenizer, "fp32")
    inputs = {node.name for node in onnx.load(folder / "model.onnx").graph.input}
    assert {"input_ids", "attention_mask", "token_type_ids"} == inputs
    assert 1e-5 > read_manifest(folder).metrics["parity"]["largest_score_difference"]
    # Given one that puts nothing between them, the model cannot be made, and the message says why
    form = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A $B:1", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    _with_form(tokenizer, form)
    with pytest.raises(ModelError, match="has no form for two texts"):
        _published(draft, tokenizer, "fp32")


def _with_form(tokenizer: Path, form: processors.TemplateProcessing) -> None:
    made = tiny_tokenizer()
    made.post_processor = form
    made.save(str(tokenizer))


def test_a_graph_that_computes_something_else_is_refused(tokenizer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given an export that takes the wrong network
    other, real = _network(3), publish.export.to_onnx
    torch.nn.init.normal_(other.head.out.weight)
    monkeypatch.setattr(publish.export, "to_onnx", lambda model, **options: real(other, **options))
    # Then the parity check finds it, and no folder is left
    with pytest.raises(ModelError, match="the ONNX graph is off by"):
        _published(_draft(), tokenizer, "fp32")
    assert not (tokenizer.parent / "models").exists()
