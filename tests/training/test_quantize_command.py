"""`fenliu train quantize`: from an FP32 folder to its next version in INT8."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
onnx = pytest.importorskip("onnx")

from schemas.errors import ModelError  # noqa: E402
from schemas.manifest import MODEL_FILE, ModelKind, Source, read_manifest  # noqa: E402
from schemas.names import Task  # noqa: E402
from tests.models import tiny_tokenizer  # noqa: E402
from tests.training.toys import toy_network  # noqa: E402
from training import range_texts  # noqa: E402
from training.publish import Draft, publish  # noqa: E402
from training.quantize import QUANTIZATION, STATIC_QUANTIZATION  # noqa: E402
from training.quantize_command import quantize_folder  # noqa: E402
from worker.inference.classifier import Classifier, Job  # noqa: E402

TEXTS = ["物流太慢了", "很好", "账号登录不了", "退款太慢" * 20]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with version 1 of `made`, in FP32; its matrices are large enough to be quantized."""
    tokenizer = tmp_path / "tokenizer.json"
    tiny_tokenizer().save(str(tokenizer))
    draft = Draft(
        name="made",
        kind=(ModelKind.CLASSIFIER,),
        tasks=(Task.SENTIMENT,),
        labels=("bad", "good"),
        max_tokens=40,
        source=Source(description="made by a test", licence="MIT"),
        licence="MIT",
    )
    where = tmp_path / "models"
    publish(toy_network(hidden=64), tokenizer, draft, precision="fp32", models=where, check_texts=TEXTS, say=print)
    return where


@pytest.mark.parametrize("texts", [[], TEXTS * 3])
@pytest.mark.parametrize(("per_row", "expected"), [(False, STATIC_QUANTIZATION), (True, QUANTIZATION)])
def test_the_next_version_is_int8_says_so_and_classifies(
    models: Path, texts: list[str], per_row: bool, expected: str
) -> None:
    # When an FP32 folder is quantized, on texts of one's own or on those that are there
    made = quantize_folder(models / "made" / "1", models, texts, per_row=per_row, say=lambda line: None)
    # Then the next version stands beside it, with the figures of the check, and the worker's engine loads it
    manifest = read_manifest(made)
    assert (models / "made" / "2", "2", expected) == (made, manifest.version, manifest.quantization)
    assert {"label_agreement", "largest_score_difference", "texts"} == manifest.metrics["int8"].keys()
    assert 1e-6 > manifest.metrics["batch"]["largest_score_difference"]
    assert "MatMulIntegerToFloat" in {node.op_type for node in onnx.load(made / MODEL_FILE).graph.node}
    classifier = Classifier.load(made, run_tokens=512)
    assert all(result.sentiment for result in classifier.classify([Job(text, True, None) for text in TEXTS]))


def test_what_is_int8_already_is_refused(models: Path) -> None:
    made = quantize_folder(models / "made" / "1", models, TEXTS, say=lambda line: None)
    with pytest.raises(ModelError, match=f"is {STATIC_QUANTIZATION} already"):
        quantize_folder(made, models, TEXTS, say=lambda line: None)
    assert ["1", "2"] == sorted(path.name for path in (models / "made").iterdir())


def test_the_texts_that_fenliu_brings_are_distinct_and_some_are_long() -> None:
    texts = range_texts.general_texts()
    assert range_texts.SHORT_TEXTS + range_texts.LONG_TEXTS == len(set(texts)) == len(texts)
    assert range_texts.LONG_TEXTS <= sum(len(text) > 120 for text in texts)
