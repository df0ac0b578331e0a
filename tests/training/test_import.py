"""Checkpoints in every layout people have them in, and what is said of those that cannot be imported."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
from safetensors.torch import load_file, save_file  # noqa: E402

from schemas.errors import ModelError, SetupError  # noqa: E402
from schemas.manifest import ModelKind  # noqa: E402
from schemas.names import Task  # noqa: E402
from tests.conftest import Fenliu  # noqa: E402
from tests.training import checkpoints  # noqa: E402
from tests.training.checkpoints import prefixed, put  # noqa: E402
from training.importing import download  # noqa: E402
from training.importing.importer import import_model  # noqa: E402
from training.importing.reader import Checkpoint, read_checkpoint  # noqa: E402
from worker.inference.classifier import Classifier, Job  # noqa: E402


def _old_names(name: str) -> str:
    return "bert." * (not name.startswith("classifier")) + name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
        "LayerNorm.bias", "LayerNorm.beta"
    )


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return read_checkpoint(checkpoints.write(tmp_path_factory.mktemp("base") / "sentiment", "sentiment"))


def _state(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "pytorch_model.bin", weights_only=True)


def _assert_same(expected: Checkpoint, found: Checkpoint) -> None:
    assert expected.config.to_dict() == found.config.to_dict()
    theirs = found.network.state_dict()
    for name, tensor in expected.network.state_dict().items():
        assert torch.equal(tensor, theirs[name]), name


@pytest.mark.parametrize(
    ("named", "options"),
    [
        (prefixed("encoder.", "head."), {"backbone": True}),
        (prefixed("bert."), {"backbone": True}),
        (prefixed("encoder."), {"base_model_prefix": "encoder"}),
        (prefixed("encoder.", "head."), {}),
        (_old_names, {"model_type": "structbert"}),
        (prefixed(""), {"model_type": "bert"}),
    ],
)
def test_every_key_layout_is_the_same_model(
    named: Callable[[str], str], options: dict[str, Any], base: Checkpoint, tmp_path: Path
) -> None:
    found = read_checkpoint(checkpoints.write(tmp_path / "other", "sentiment", named=named, **options))
    _assert_same(base, found)
    assert (("负面", "正面"), ModelKind.CLASSIFIER) == (found.labels, found.kind)


def test_safetensors_and_shards_are_the_same_model(base: Checkpoint, tmp_path: Path) -> None:
    # Given the weights as safetensors, in two shards
    folder = checkpoints.write(tmp_path / "shards", "sentiment")
    state = _state(folder)
    (folder / "pytorch_model.bin").unlink()
    names = sorted(state)
    places = {name: f"model-{1 + (number % 2)}.safetensors" for number, name in enumerate(names)}
    for shard in set(places.values()):
        save_file({name: state[name] for name in names if places[name] == shard}, folder / shard)
    put(folder / "model.safetensors.index.json", {"weight_map": places})
    # Then nothing is lost
    _assert_same(base, read_checkpoint(folder))
    # And a shard that is missing is named
    (folder / "model-2.safetensors").unlink()
    with pytest.raises(ModelError, match=r"model-2\.safetensors: is missing"):
        read_checkpoint(folder)
    # And one outside of the folder is not read
    put(folder / "model.safetensors.index.json", {"weight_map": {"a": "../model-1.safetensors"}})
    with pytest.raises(ModelError, match="which is no file beside it"):
        read_checkpoint(folder)


def test_half_precision_is_read_as_fp32(tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path / "half", "sentiment")
    torch.save({name: value.half() for name, value in _state(folder).items()}, folder / "pytorch_model.bin")
    assert {torch.float32} == {tensor.dtype for tensor in read_checkpoint(folder).network.state_dict().values()}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("bert.pooler.dense.bias"), r"missing: bert\.pooler\.dense\.bias\."),
        (lambda s: s.pop("classifier.bias"), r"missing: classifier\.bias\."),
        (lambda s: s.update({"bert.extra": torch.ones(2)}), r"unexpected: bert\.extra\."),
        (lambda s: s.update({"adapter.weight": torch.ones(2)}), r"unexpected: adapter\.weight\."),
        (
            lambda s: s.update({"bert.encoder.layer.1.output.dense.bias": torch.ones(3)}),
            r"bert\.encoder\.layer\.1\.output\.dense\.bias is \[3\] where config\.json makes it \[64\]",
        ),
        (lambda s: s.pop("bert.embeddings.word_embeddings.weight"), r"0 tensors named \*embeddings\.word_embeddings"),
        (lambda s: s.update({"head.classifier.bias": torch.ones(2)}), r"classifier\.bias and head\.classifier\.bias"),
        (lambda s: s.update({"epoch": 3}), r"holds 'epoch' \(int\), which is no tensor"),
        (lambda s: s.update({"classifier.weight": torch.ones(1, 64), "classifier.bias": torch.ones(1)}), "one logit"),
    ],
)
def test_tensors_that_do_not_make_the_model_are_named(
    change: Callable[[dict[str, Any]], Any], said: str, tmp_path: Path
) -> None:
    folder = checkpoints.write(tmp_path / "odd", "sentiment")
    state = _state(folder)
    change(state)
    torch.save(state, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=said):
        read_checkpoint(folder)


class _Code:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return print, ("this ran",)


def test_a_pickle_that_is_not_only_tensors_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = checkpoints.write(tmp_path / "code", "sentiment")
    torch.save({"weights": _Code()}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"pytorch_model\.bin: is not a file of tensors only.* as model\.safetensors"):
        read_checkpoint(folder)
    assert "" == capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "deberta-v2"}, "model_type of config.json is 'deberta-v2'; only BERT and StructBERT"),
        ({"hidden_act": "swish"}, "hidden_act is 'swish'; known: gelu"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key'"),
        ({"problem_type": "multi_label_classification"}, "problem_type is 'multi_label_classification'"),
        ({"architectures": ["BertForTokenClassification"]}, "'BertForTokenClassification', whose head"),
        ({"num_attention_heads": None}, "num_attention_heads of config.json must be a number"),
        ({"num_attention_heads": 5}, "hidden_size 64 is no multiple of num_attention_heads 5"),
        ({"num_hidden_layers": 3}, r"missing: bert\.encoder\.layer\.2\..* and 8 more"),
        ({"num_hidden_layers": 1}, r"unexpected: bert\.encoder\.layer\.1\.attention"),
    ],
)
def test_what_is_no_bert_is_refused_by_its_field(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=said):
        read_checkpoint(checkpoints.write(tmp_path / "odd", "sentiment", **changes))


def test_another_backbone_of_modelscope_is_refused_by_name(tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path / "odd", "sentiment")
    put(folder / "configuration.json", {"model": {"type": "veco"}})
    with pytest.raises(ModelError, match=r"model\.type of configuration\.json is 'veco'"):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    ("lines", "said"), [(2244, "has 2244 tokens, but the embedding table has 2245 rows"), (90, "has 90 tokens")]
)
def test_a_vocabulary_of_another_size_is_refused(lines: int, said: str, tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path / "short", "sentiment")
    vocabulary = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
    (folder / "vocab.txt").write_text("\n".join(vocabulary[:lines]) + "\n", encoding="utf-8")
    with pytest.raises(ModelError, match=rf"vocab\.txt: {said}"):
        read_checkpoint(folder)


@pytest.mark.parametrize("name", ["config.json", "pytorch_model.bin", "vocab.txt"])
def test_a_missing_file_is_named(name: str, tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path / "less", "sentiment")
    (folder / name).unlink()
    with pytest.raises(ModelError, match=name.replace(".", r"\.")):
        read_checkpoint(folder)


def test_labels_come_from_where_modelscope_looks_first(tmp_path: Path) -> None:
    # Given label names in every file
    folder = checkpoints.write(tmp_path / "all", "sentiment", id2label={"0": "e", "1": "f"})
    configuration = checkpoints.configuration("sentiment")
    configuration["model"] = {"type": "structbert", "id2label": {"1": "b", "0": "a"}}
    configuration["preprocessor"] = {"type": "sen-cls-tokenizer", "label2id": {"d": 1, "c": 0}}
    put(folder / "configuration.json", configuration)
    # Then label_mapping.json counts, then configuration.json, its model first, then config.json
    assert ("负面", "正面") == read_checkpoint(folder).labels
    (folder / "label_mapping.json").unlink()
    assert ("a", "b") == read_checkpoint(folder).labels
    del configuration["model"]["id2label"]
    put(folder / "configuration.json", configuration)
    assert ("c", "d") == read_checkpoint(folder).labels
    put(folder / "configuration.json", checkpoints.configuration("sentiment"))
    assert ("e", "f") == read_checkpoint(folder).labels
    # And without any, the message says what to write
    put(folder / "config.json", checkpoints.config())
    with pytest.raises(
        ModelError, match=r'no file names the 2 labels.*label_mapping\.json into the folder: \{"name 0"'
    ):
        read_checkpoint(folder)


def test_labels_that_do_not_fit_the_logits_are_refused(tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path / "odd", "sentiment")
    put(folder / "label_mapping.json", {"a": 1, "b": 2})
    with pytest.raises(ModelError, match=r"label_mapping\.json gives the labels .* but the classifier has 2 logits"):
        read_checkpoint(folder)


def test_an_nli_model_is_known_by_its_task_or_its_labels_and_read_by_their_names(tmp_path: Path) -> None:
    # Given a zero-shot checkpoint of ModelScope
    folder = checkpoints.write(tmp_path / "zero", "zero_shot")
    found = read_checkpoint(folder)
    assert (ModelKind.NLI, Task.ROUTING, 0, 2) == (
        found.kind, found.task, found.entailment_index, found.contradiction_index,
    )  # fmt: skip
    # When the same is a transformers folder with its labels in another order, they say which logit is which
    (folder / "configuration.json").unlink()
    put(folder / "label_mapping.json", {"CONTRADICTION": 0, "neutral": 1, "ENTAILMENT": 2})
    found = read_checkpoint(folder)
    assert (ModelKind.NLI, 2, 0) == (found.kind, found.entailment_index, found.contradiction_index)
    # And the user's word counts for more than the files'
    assert ModelKind.CLASSIFIER is read_checkpoint(folder, Task.SENTIMENT).kind


def test_two_classes_cannot_be_made_to_route(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the classifier has 2 logits"):
        read_checkpoint(checkpoints.write(tmp_path / "two", "sentiment"), Task.ROUTING)


def _transformers_folder(folder: Path, model: Any, **tokenizer: Any) -> Path:
    model.save_pretrained(folder)
    source = transformers.BertTokenizer(str(checkpoints.HERE / "vocab.txt"), **tokenizer)
    source.save_pretrained(folder)
    return folder


def _bert_config(**changes: Any) -> Any:
    torch.manual_seed(3)
    fields = checkpoints.config() | {"initializer_range": 0.2, "max_position_embeddings": 600} | changes
    return transformers.BertConfig(**fields)


def test_a_transformers_folder_answers_as_transformers_does(tmp_path: Path) -> None:
    # Given three classes saved by transformers, with safetensors and tokenizer.json, and more than 512 positions
    names = {0: "差", 1: "中", 2: "好"}
    model = transformers.BertForSequenceClassification(_bert_config(id2label=names)).eval()
    folder = _transformers_folder(tmp_path / "saved", model, model_max_length=600)
    # When it is imported
    made = import_model(
        str(folder),
        "three",
        models=tmp_path / "models",
        precision="fp32",
        say=lambda line: None,
        check_texts=["好", "a b"],
    )
    imported = Classifier.load(made, run_tokens=512)
    assert (600, ("差", "中", "好")) == (imported.manifest.max_tokens, imported.manifest.labels)
    # Then scores are the same
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for text in ("很满意,音质很好", "Battery life is so-so", "好" * 550):
        with torch.inference_mode():
            expected = model(**tokenizer(text, return_tensors="pt")).logits.softmax(-1)[0].tolist()
        found = imported.classify([Job(text, True, None)])[0].sentiment.scores
        assert dict(zip(names.values(), expected, strict=True)) == pytest.approx(found, abs=1e-5)


def test_a_trunk_alone_becomes_an_encoder_and_no_sentiment_model(tmp_path: Path) -> None:
    # Given BERT without a classifier, and one with the head of its pretraining
    bare = _transformers_folder(tmp_path / "bare", transformers.BertModel(_bert_config()))
    masked = _transformers_folder(tmp_path / "masked", transformers.BertForMaskedLM(_bert_config()))
    # Then both are encoders, and what is left out is said
    assert ModelKind.ENCODER is read_checkpoint(bare).kind
    assert any("tensors named cls.*" in note for note in read_checkpoint(masked).notes)
    trunk = load_file(bare / "model.safetensors")
    for name, tensor in read_checkpoint(bare).network.trunk.state_dict().items():
        assert torch.equal(trunk[name], tensor)
    with pytest.raises(ModelError, match="has no classifier, so it cannot do sentiment"):
        read_checkpoint(bare, Task.SENTIMENT)


def test_a_path_that_is_none_and_an_id_that_cannot_be_had_say_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match="there is no such folder, and it is no id"):
        download.find(str(tmp_path / "nowhere"), lambda line: None)
    with pytest.raises(ModelError, match="is a file; give the folder"):
        (tmp_path / "file").write_text("")
        read_checkpoint(tmp_path / "file")

    def unreachable(model_id: str) -> str:
        raise ConnectionError(f"no route to https://example.com/{model_id}\nand more")

    monkeypatch.setattr(download, "_transformers", unreachable)
    with pytest.raises(SetupError, match="huggingface_hub: ConnectionError: no route to the hub") as caught:
        download.find("damo/some-model", lambda line: None)
    assert "modelscope download --model damo/some-model --local_dir FOLDER" in str(caught.value)


def test_the_command_makes_a_model_that_is_listed_shown_and_run(tmp_path: Path, fenliu: Fenliu) -> None:
    # Given a checkpoint, when the command imports it
    folder = checkpoints.write(tmp_path / "mine", "sentiment")
    done = fenliu("models", "import", str(folder), "--name", "mine", "--licence", "Apache-2.0", "--json", timeout_s=280)
    assert 0 == done.returncode, done.stderr
    made = json.loads(done.stdout)
    assert ("mine/1", ["sentiment"], ["负面", "正面"], "int8-static", "Apache-2.0", 1.0) == (
        made["id"], made["tasks"], made["labels"], made["quantization"], made["licence"],
        made["metrics"]["tokens"]["equal"],
    )  # fmt: skip
    # Then the other commands know it
    assert "mine" in {row["name"] for row in json.loads(fenliu("models", "list", "--json").stdout)}
    assert "Apache-2.0" in fenliu("models", "show", "mine").stdout
    found = json.loads(fenliu("predict", "--task", "sentiment", "--model", "mine", input="很满意\n").stdout)
    assert ("mine", "1") == (found["model"], found["model_version"])
    # And a checkpoint that will not do ends with a message
    failed = fenliu("models", "import", str(tmp_path), "--name", "other")
    assert 1 == failed.returncode
    assert failed.stderr.startswith(f"error: {tmp_path}: has no config.json")
