"""A whole run: it learns, survives being killed, calibrates honestly, and leaves a folder that the worker loads."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from safetensors.torch import load_file  # noqa: E402

from schemas.manifest import ModelKind, read_manifest, sha256_of  # noqa: E402
from tests.conftest import ROOT, environment  # noqa: E402
from tests.models import tiny_tokenizer  # noqa: E402
from tests.training.toys import BAD, GOOD, SIGNS, toy_base, toy_network, toy_rows, write_csv  # noqa: E402
from training import plots  # noqa: E402
from training.bases import save_base  # noqa: E402
from training.classification_report import report  # noqa: E402
from training.finetuning.data import Data, Files, prepare  # noqa: E402
from training.finetuning.judgement import LEAST_TEMPERATURE, cross_fitted  # noqa: E402
from training.finetuning.recipe import Recipe  # noqa: E402
from training.finetuning.run import Places, Training, fine_tune, token_rows  # noqa: E402
from training.loop import DivergedError  # noqa: E402
from worker.inference.classifier import Classifier, Job  # noqa: E402
from worker.inference.folder import check  # noqa: E402

PNG = b"\x89PNG\r\n"
RECIPE = Recipe(epochs=4, rate=3e-3, batch_texts=8, patience_epochs=4, eval_share=0.2, precision="fp32")
KILLED_AT_STEP = 33


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _data(folder: Path, count: int = 120) -> Data:
    path = folder / "train.csv"
    return prepare(Files(write_csv(path, toy_rows(count))), RECIPE.eval_share, RECIPE.seed, lambda tally: None)


def run_and_die(folder: Path) -> None:
    """What a subprocess of the test below does: a run that kill -9 ends in the middle."""
    torch.set_num_threads(1)

    def on_step(step: int, steps: int) -> None:
        if step == KILLED_AT_STEP:
            os.kill(os.getpid(), signal.SIGKILL)

    places = Places("toy", folder / "models", folder / "work")
    fine_tune(_data(folder), toy_base(), RECIPE, places, say=lambda line: None, on_step=on_step)


def test_a_run_learns_and_one_that_was_killed_ends_with_the_same_weights(tmp_path: Path) -> None:
    # Given a run that is killed between two checkpoints, started again
    script = (
        f"from pathlib import Path; from tests.training.test_finetuning import *; run_and_die(Path({str(tmp_path)!r}))"
    )
    killed = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment(), check=False)
    assert -signal.SIGKILL == killed.returncode
    assert [] == list((tmp_path / "models").glob("**/manifest.json"))
    said: list[str] = []
    places = Places("toy", tmp_path / "models", tmp_path / "work")
    resumed = fine_tune(_data(tmp_path), toy_base(), RECIPE, places, say=said.append)
    # And one that ran through
    other = Places("toy", tmp_path / "through", tmp_path / "other")
    through = fine_tune(_data(tmp_path), toy_base(), RECIPE, other, say=lambda line: None)
    # Then the first went on where its last checkpoint was, and both weigh the same
    assert any(line.startswith("resumed at step 24 of 48") for line in said)
    expected, actual = (load_file(folder / "torch" / "model.safetensors") for folder in (through, resumed))
    assert expected.keys() == actual.keys()
    assert all(torch.equal(expected[name], actual[name]) for name in expected)
    # And no checkpoint is left, and the labels are learnt
    assert [] == list(places.work.iterdir())
    assert 1.0 == read_manifest(resumed).metrics["eval_part"]["accuracy"]
    # And the report of the resumed run has every epoch
    history = json.loads((resumed / "report.json").read_text())["history"]
    assert [1, 2, 3, 4] == [epoch["epoch"] for epoch in history["epochs"]]
    assert all("macro_f1" in epoch for epoch in history["epochs"])


def test_the_command_makes_a_model_that_predict_and_the_worker_take(tmp_path: Path) -> None:
    # Given a base folder and a CSV with markup, a duplicate and two texts of a class under its number
    model = toy_network()
    save_base(tmp_path / "base", toy_base(model), model)
    rows = toy_rows(120)
    path = write_csv(tmp_path / "train.csv", [*rows, rows[0]])
    path.write_text(path.read_text("utf-8").replace("很好", "<b>很好</b>", 3), "utf-8")
    settings = environment(None, FENLIU_HOME=str(tmp_path / "home"))
    given = "--epochs 3 --rate 3e-3 --batch 8 --eval-share 0.2 --threads 1 --decay cosine --accumulate 1 --json"
    command = [
        *(sys.executable, "-m", "fenliu", "train", "finetune", "--data", str(path)),
        *("--base", str(tmp_path / "base"), "--name", "toy", *given.split()),
    ]
    # When the command runs, and then predict with the model it made
    made = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, check=False)
    assert 0 == made.returncode, made.stderr
    predicted = subprocess.run(
        [sys.executable, "-m", "fenliu", "predict", "--model", "toy"],
        cwd=ROOT, env=settings, capture_output=True, text=True, check=False, input=f"a{SIGNS[GOOD]}b\nc{SIGNS[BAD]}\n",
    )  # fmt: skip
    # Then the texts get their labels
    assert 0 == predicted.returncode, predicted.stderr
    assert [GOOD, BAD] == [json.loads(line)["label"] for line in predicted.stdout.splitlines()]
    # And cleaning was shown on stderr, the figures on stdout
    assert "HTML tags and entities" in made.stderr
    assert "exact duplicates: dropped" in made.stderr
    shown = json.loads(made.stdout)
    # And the folder holds the report and its pictures, each under the manifest's sha256
    folder = Path(shown["folder"])
    manifest = check(folder)
    assert ((ModelKind.CLASSIFIER,), (GOOD, BAD)) == (manifest.kind, manifest.labels)
    for name in ("report.json", "classification_report.txt", "confusion_matrix.png", "learning_curves.png"):
        assert sha256_of(folder / name) == manifest.files[name]
    assert (
        PNG == (folder / "confusion_matrix.png").read_bytes()[:6] == (folder / "learning_curves.png").read_bytes()[:6]
    )
    whole = json.loads((folder / "report.json").read_text("utf-8"))
    assert {"base", "data", "hyperparameters", "history", "metrics", "confusion"} == whole.keys()
    assert shown["metrics"]["eval_part"] == whole["metrics"]["eval_part"]
    assert 121 == whole["data"]["cleaning"]["train"]["rows"]
    assert {"calibration_error_before", "calibration_error", "macro_f1"} <= whole["metrics"]["eval_part"].keys()


def test_scores_are_calibrated_as_the_worker_computes_them(tmp_path: Path) -> None:
    data = _data(tmp_path, 60)
    recipe = Recipe(epochs=1, rate=1e-4, batch_texts=8, eval_share=0.2, precision="int8", max_tokens=16)
    places = Places("toy", tmp_path / "models", tmp_path / "work")
    folder = fine_tune(data, toy_base(), recipe, places, say=lambda line: None)
    # Given the manifest's temperature and the scores the worker gives
    manifest = read_manifest(folder)
    assert manifest.metrics["eval_part"]["calibration"]["temperature"] == manifest.temperature.sentiment
    model = Classifier.load(folder, run_tokens=512)
    results = model.classify([Job(row.text, True, None) for row in data.split.eval])
    found = [result.sentiment.label for result in results if result.sentiment]
    # Then its accuracy is the report's
    right = np.mean([label == row.label for label, row in zip(found, data.split.eval, strict=True)])
    assert round(float(right), 4) == manifest.metrics["eval_part"]["accuracy"]
    assert 16 == manifest.max_tokens


def test_rare_classes_weigh_more_unless_told_otherwise(tmp_path: Path) -> None:
    # Given three texts of one class for each of the other
    rows = toy_rows(400)
    rows = [row for row in rows if row.label == GOOD][:90] + [row for row in rows if row.label == BAD][:30]
    data = prepare(Files(write_csv(tmp_path / "train.csv", rows)), 0.1, 7, lambda tally: None)
    # Then a text of the rare class counts three times as much, and the average text 1
    path = tmp_path / "tokenizer.json"
    tiny_tokenizer().save(str(path))
    made = Training(toy_network(), path, data, Recipe(), max_tokens=40, device="cpu")
    assert [GOOD, BAD] == list(data.labels)
    assert [2 / 3, 2.0] == pytest.approx(made.weights.tolist(), rel=0.05)
    plain = Training(toy_network(), path, data, Recipe(class_weights="none"), max_tokens=40, device="cpu")
    assert plain.weights is None


def test_special_tokens_that_a_user_typed_are_text_in_training_too(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    tiny_tokenizer().save(str(path))
    assert [1, 1] == [row.count(2) for row in token_rows(path, ["a</s>b", "</s>"], 40)]


def test_a_rate_that_is_too_high_is_said_and_nothing_is_published(tmp_path: Path) -> None:
    recipe = Recipe(epochs=3, rate=1e30, batch_texts=8, clip_norm=1e30)
    places = Places("toy", tmp_path / "models", tmp_path / "work")
    with pytest.raises(DivergedError, match="try a lower --rate"):
        fine_tune(_data(tmp_path), toy_base(), recipe, places, say=lambda line: None)
    assert not (tmp_path / "models").exists()


def test_calibration_takes_overconfidence_away_and_is_measured_on_texts_it_was_not_fitted_on() -> None:
    # Given 2,000 texts of which 80 % are right, with scores near 1
    rng = np.random.default_rng(0)
    expected = rng.integers(0, 2, 2000)
    found = np.where(rng.random(2000) < 0.8, expected, 1 - expected)
    logits = np.eye(2)[found] * 8.0
    # When the temperature is fitted
    halves = [np.arange(1000), np.arange(1000, 2000)]
    temperature, after = cross_fitted(logits, expected, halves)
    # Then the score of every text is about 0.8
    assert 0.8 == pytest.approx(1 / (1 + np.exp(-8 / temperature)), abs=0.02)
    assert 0.03 > after
    # And a half whose texts are all right is judged with the other half's temperature
    order = np.argsort(found != expected)
    _, unfair = cross_fitted(logits[order], expected[order], halves)
    assert 0.1 < unfair


def test_texts_that_are_all_right_do_not_make_scores_of_one() -> None:
    logits, expected = np.array([[1.0, -1.0], [-1.0, 1.0]] * 20), np.array([0, 1] * 20)
    temperature, _ = cross_fitted(logits, expected, [np.arange(20), np.arange(20, 40)])
    assert LEAST_TEMPERATURE == pytest.approx(temperature, rel=1e-3)


def test_the_report_counts_what_a_person_would_count() -> None:
    # Given five texts of three classes, three found rightly
    expected = np.array([0, 0, 1, 1, 2])
    probabilities = np.eye(3)[[0, 1, 1, 1, 0]] * 0.7 + 0.1
    made = report(expected, probabilities, ["好", "差", "中评"])
    # Then accuracy, macro-F1 = (1/2 + 4/5 + 0) / 3, confusion, and ECE = 0.8 - 0.6
    assert 0.6 == made.accuracy
    assert 0.4333 == made.macro_f1
    assert ((1, 1, 0), (0, 2, 0), (1, 0, 0)) == made.confusion
    assert 0.2 == made.calibration_error
    assert (0.6667, 1.0, 0.8, 2) == (
        made.per_class[1].precision, made.per_class[1].recall, made.per_class[1].f1, made.per_class[1].texts
    )  # fmt: skip
    # And the text's columns stand one below the other, wide characters or not
    lines = made.as_text().splitlines()
    assert "0 好         0.5000     0.5000     0.5000          2" == lines[1]
    assert "2 中评       0.0000     0.0000     0.0000          1" == lines[3]


@pytest.mark.parametrize("labels", [["positive", "negative"], ["好评", "差$评$"], ["😀", "\U0002b820"]])
def test_pictures_are_drawn_whatever_the_names_of_the_classes(labels: list[str]) -> None:
    assert PNG == plots.confusion_png([[3, 1], [0, 2]], labels)[:6]


def test_class_names_without_a_font_become_their_numbers() -> None:
    assert (["DejaVu Sans"], ["0 good", "1 bad"]) == plots._legible(["good", "bad"])
    assert ["0", "1"] == plots._legible(["\U0010fffd", "bad"])[1]


def test_confidences_and_curves_are_drawn() -> None:
    assert PNG == plots.confidence_png([0.9, 0.6, 1.0], [True, False, True])[:6]
    assert PNG == plots.curves_png({"Loss": {"train": [(0.5, 1.0), (1.0, 0.5)], "eval": []}}, 1)[:6]
