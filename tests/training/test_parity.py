"""Imported in FP32, ModelScope's checkpoints give ModelScope's own scores; where they do not, it is on purpose."""

from __future__ import annotations

import json
import shutil
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from schemas.errors import EntryError, LabelsError
from schemas.fields import item_text
from schemas.labels import Label, LabelSet, label_set, parse_labels_text
from tests.training import checkpoints
from training.importing.importer import import_model
from worker.inference.classifier import Classifier, Job, Scores

REFERENCE = checkpoints.reference()
TEXTS: dict[str, str] = REFERENCE["texts"]
TOLERANCE = 1e-5
ON_PURPOSE = {"special_tokens"}
"""Texts whose scores differ because a user's [SEP] is text in Fenliu and a command in ModelScope."""
if unicodedata.unidata_version != REFERENCE["versions"]["unidata"]:
    ON_PURPOSE |= {"emoji_unicode15"}  # ModelScope's own answer depends on the Python it runs on
CHECK_TEXTS = [TEXTS["news"], TEXTS["short_neg"], TEXTS["ascii_mixed"]]


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Model folders of both checkpoints: FP32, and sentiment as INT8 too."""
    home = tmp_path_factory.mktemp("imported")
    checkpoints.write(home / "sentiment", "sentiment", named=checkpoints.prefixed("encoder.", "head."), backbone=True)
    checkpoints.write(home / "zero_shot", "zero_shot")
    return {
        f"{kind}_{precision}": import_model(
            str(home / kind),
            f"{kind}_{precision}",
            models=home / "models",
            precision=precision,
            say=lambda line: None,
            check_texts=CHECK_TEXTS,
        )
        for kind, precision in (
            ("sentiment", "fp32"),
            ("sentiment", "int8"),
            ("zero_shot", "fp32"),
            ("zero_shot", "int8"),
        )
    }


@pytest.fixture(scope="module")
def sentiment(imported: dict[str, Path]) -> Classifier:
    return Classifier.load(imported["sentiment_fp32"], run_tokens=512)


@pytest.fixture(scope="module")
def zero_shot(imported: dict[str, Path]) -> Classifier:
    return Classifier.load(imported["zero_shot_fp32"], run_tokens=512)


def _sentiment(model: Classifier, *texts: str) -> list[Scores]:
    return [found.sentiment for found in model.classify([Job(text, True, None) for text in texts])]


def _routing(
    model: Classifier, text: str, labels: LabelSet, template: str | None = None, multi_label: bool | None = None
) -> Scores:
    prepared = model.prepare(labels, template)
    return model.classify([Job(text, False, prepared, bool(multi_label))])[0].routing


def _bare(names: Sequence[str]) -> LabelSet:
    """Labels past the checks of `label_set`: ModelScope takes empty, long and repeated ones."""
    return LabelSet(tuple(Label(name) for name in names))


def _assert_equal(expected: dict[str, Any], found: Scores) -> None:
    assert list(dict.fromkeys(expected["labels"])) == list(found.scores)
    for label, score in zip(expected["labels"], expected["scores"], strict=True):
        assert abs(score - found.scores[label]) < TOLERANCE


def test_the_checkpoints_are_those_that_modelscope_ran() -> None:
    for kind in ("sentiment", "zero_shot"):
        assert REFERENCE["checkpoints"][kind]["tensors_sha256"] == checkpoints.digest(checkpoints.weights(kind))


@pytest.mark.parametrize("case", REFERENCE["sentiment"], ids=lambda case: case["text"])
def test_sentiment_is_modelscopes(case: dict[str, Any], sentiment: Classifier) -> None:
    if case["text"] not in ON_PURPOSE:
        _assert_equal(case["output"], _sentiment(sentiment, TEXTS[case["text"]])[0])


@pytest.mark.parametrize(
    "case",
    REFERENCE["zero_shot"],
    ids=lambda case: f"{case['text']}-{len(case['candidate_labels'])}-{'multi' if case['multi_label'] else 'one'}",
)
def test_zero_shot_is_modelscopes(case: dict[str, Any], zero_shot: Classifier) -> None:
    if case["text"] not in ON_PURPOSE:
        labels = _bare(case["candidate_labels"])
        found = _routing(zero_shot, TEXTS[case["text"]], labels, multi_label=case["multi_label"])
        _assert_equal(case["output"], found)


@pytest.mark.parametrize(
    "case",
    [case for case in REFERENCE["zero_shot_extra"] if "output" in case and not case["pipeline_kwargs"]],
    ids=lambda case: case["note"],
)
def test_templates_label_strings_one_label_and_overlong_pairs_are_modelscopes(
    case: dict[str, Any], zero_shot: Classifier
) -> None:
    given = case["candidate_labels"]
    labels = parse_labels_text(given) if isinstance(given, str) else _bare(given)
    _assert_equal(case["output"], _routing(zero_shot, case["input"], labels, case["template"], case["multi_label"]))


def test_texts_together_get_what_modelscope_gives_them_one_by_one(sentiment: Classifier, zero_shot: Classifier) -> None:
    texts = [TEXTS[name] for name in ("short_neg", "empty", "len_600")]
    outputs = REFERENCE["sentiment_calls"]["list of 3 texts"]["output"]
    for expected, found in zip(outputs, _sentiment(sentiment, *texts), strict=True):
        _assert_equal(expected, found)
    labels = zero_shot.prepare(_bare(["正面", "负面"]))
    outputs = REFERENCE["zero_shot_calls"]["list of 3 texts"]["output"]
    jobs = [Job(text, False, labels) for text in (TEXTS["travel"], TEXTS["news"], "")]
    for expected, result in zip(outputs, zero_shot.classify(jobs), strict=True):
        _assert_equal(expected, result.routing)


def _with(folder: Path, target: Path, **changes: Any) -> Classifier:
    """The model of a folder, its manifest changed."""
    shutil.copytree(folder, target)
    path = target / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")
    return Classifier.load(target, run_tokens=512)


def test_a_shorter_length_cuts_where_modelscopes_does(imported: dict[str, Path], tmp_path: Path) -> None:
    # Given the models with the lengths that ModelScope's pipelines were given
    short = _with(imported["sentiment_fp32"], tmp_path / "short", max_tokens=128)
    for case in REFERENCE["sentiment_lengths"]:
        _assert_equal(case["output"], _sentiment(short, TEXTS["len_600"])[0])
    shorter = _with(imported["zero_shot_fp32"], tmp_path / "shorter", max_tokens=64)
    [case] = [case for case in REFERENCE["zero_shot_extra"] if "max_length" in case["pipeline_kwargs"]]
    _assert_equal(case["output"], _routing(shorter, case["input"], _bare(case["candidate_labels"])))


def test_on_purpose_special_tokens_in_a_text_are_text(sentiment: Classifier) -> None:
    # Given a text with [SEP] and the like, which ModelScope takes for commands
    [case] = [case for case in REFERENCE["sentiment"] if case["text"] == "special_tokens"]
    found = _sentiment(sentiment, TEXTS["special_tokens"], TEXTS["special_tokens"].replace("[SEP]", "[ SEP ]"))
    # Then its scores are those of the letters between brackets, and not ModelScope's
    expected = dict(zip(case["output"]["labels"], case["output"]["scores"], strict=True))
    assert TOLERANCE < abs(expected[found[0].label] - found[0].score)
    assert found[1].scores == pytest.approx(found[0].scores, abs=1e-6)


@pytest.mark.parametrize("name", ["empty", "spaces"])
def test_on_purpose_a_text_without_any_character_is_refused_at_the_inbox(name: str) -> None:
    with pytest.raises(EntryError, match="text: "):
        item_text({"text": TEXTS[name]})


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["旅游", "科技", "旅游"], "twice"),
        (["Travel", ""], "empty"),
        (["长" * 700, "科技"], "at most 200"),
        ([], "no label"),
    ],
)
def test_on_purpose_repeated_empty_and_endless_labels_are_refused(labels: list[str], said: str) -> None:
    with pytest.raises(LabelsError, match=said):
        label_set(labels)


def test_on_purpose_windows_read_a_long_text_to_its_end(imported: dict[str, Path], tmp_path: Path) -> None:
    # Given the model with long_text windows
    windows = _with(imported["sentiment_fp32"], tmp_path / "windows", long_text="windows")
    cut = Classifier.load(imported["sentiment_fp32"], run_tokens=512)
    for name in ("len_510", "len_1300"):
        expected, found = _sentiment(cut, TEXTS[name])[0], _sentiment(windows, TEXTS[name])[0]
        # Then a text that fits gets ModelScope's scores, and a longer one those of all it says
        assert (name == "len_510") == (found.scores == pytest.approx(expected.scores, abs=1e-6))


@pytest.mark.parametrize("kind", ["sentiment", "zero_shot"])
def test_int8_gives_a_text_the_same_scores_alone_and_among_others(kind: str, imported: dict[str, Path]) -> None:
    # Given the INT8 model, when texts run together and one by one
    model = Classifier.load(imported[f"{kind}_int8"], run_tokens=512)
    jobs = [Job(text, True, None) for text in TEXTS.values()]
    if kind == "zero_shot":
        labels = model.prepare(_bare(["正面", "负面", "科技"]))
        jobs = [job._replace(sentiment=False, labels=labels) for job in jobs]
    together = model.classify(jobs)
    # Then every score is the same
    for job, among in zip(jobs, together, strict=True):
        [alone] = model.classify([job])
        for one, other in ((alone.sentiment, among.sentiment), (alone.routing, among.routing)):
            if one is not None and other is not None:
                assert one.scores == pytest.approx(other.scores, abs=1e-6)


def test_int8_stays_near_fp32(imported: dict[str, Path], sentiment: Classifier) -> None:
    small = Classifier.load(imported["sentiment_int8"], run_tokens=512)
    texts = list(TEXTS.values())
    expected = [found.scores["正面"] for found in _sentiment(sentiment, *texts)]
    actual = [found.scores["正面"] for found in _sentiment(small, *texts)]
    assert 0.03 > np.abs(np.subtract(expected, actual)).mean()
