"""A whole distillation: it learns, survives being killed, matches its teacher's scores, and says what was gained."""

import json
import os
import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from safetensors.torch import load_file  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from schemas.errors import ModelError, SourceError  # noqa: E402
from schemas.labels import label_set  # noqa: E402
from schemas.manifest import Calibration, ModelKind, Source, read_manifest  # noqa: E402
from schemas.names import Task  # noqa: E402
from tests.conftest import ROOT, environment, fenliu_command  # noqa: E402
from tests.models import tiny_tokenizer  # noqa: E402
from tests.training import checkpoints  # noqa: E402
from tests.training.toys import BAD, GOOD, toy_base, toy_network, toy_rows, write_csv  # noqa: E402
from training.bases import save_base  # noqa: E402
from training.batches import encode, outputs  # noqa: E402
from training.cli import app  # noqa: E402
from training.data_files import Columns  # noqa: E402
from training.distilling.data import Data, Files, prepare  # noqa: E402
from training.distilling.matching import match_routing, nearest_temperature, stand_ins  # noqa: E402
from training.distilling.recipe import Recipe, student_shape  # noqa: E402
from training.distilling.run import Places, distil  # noqa: E402
from training.distilling.teacher import Teacher, load_teacher  # noqa: E402
from training.distilling.vocabulary import pruned  # noqa: E402
from training.finetuning.data import Files as LabelledFiles  # noqa: E402
from training.finetuning.data import prepare as prepare_labelled  # noqa: E402
from training.finetuning.recipe import Recipe as FinetuningRecipe  # noqa: E402
from training.finetuning.run import Places as FinetuningPlaces  # noqa: E402
from training.finetuning.run import fine_tune  # noqa: E402
from training.importing.importer import import_model  # noqa: E402
from training.loop import DivergedError  # noqa: E402
from training.narrow import Shape  # noqa: E402
from training.network import HeadKind  # noqa: E402
from training.publish import Draft, publish  # noqa: E402
from worker.inference.classifier import Classifier, Job  # noqa: E402
from worker.inference.folder import check  # noqa: E402
from worker.inference.scores import softmax  # noqa: E402

RECIPE = Recipe(Shape(layers=1, hidden=16, heads=4, ffn=32), epochs=3, rate=5e-3, batch_texts=8, eval_share=0.2)
KILLED_AT_STEP = 23
NEUTRAL = [row.text for row in toy_rows(12, seed=13)]


def _quiet(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a toy that was fine-tuned to tell good from bad."""
    folder = tmp_path_factory.mktemp("teacher")
    data = prepare_labelled(LabelledFiles(write_csv(folder / "train.csv", toy_rows(120))), 0.2, 7, lambda tally: None)
    recipe = FinetuningRecipe(epochs=3, rate=3e-3, batch_texts=8, patience_epochs=3)
    places = FinetuningPlaces("toy", folder / "models", folder / "work")
    return fine_tune(data, toy_base(), recipe, places, say=_quiet)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a random toy for both tasks, centred and calibrated."""
    folder = tmp_path_factory.mktemp("encoder")
    tiny_tokenizer().save(str(folder / "tokenizer.json"))
    draft = Draft(
        name="both",
        kind=(ModelKind.CLASSIFIER, ModelKind.ENCODER),
        tasks=(Task.SENTIMENT, Task.ROUTING),
        labels=("negative", "positive"),
        max_tokens=32,
        source=Source(description="made by a test", licence="MIT"),
        licence="MIT",
        temperature=Calibration(sentiment=0.5, routing=0.05, multi_label=0.1, multi_label_bias=0.02),
    )
    embedding, _ = outputs(toy_network(), encode(tiny_tokenizer(), NEUTRAL, 32))
    np.save(folder / "neutral.npy", embedding.mean(0, keepdims=True))
    text = "".join(f"{line}\n" for line in NEUTRAL)
    extra = {"neutral.npy": (folder / "neutral.npy").read_bytes(), "neutral.txt": text.encode()}
    return publish(
        toy_network(), folder / "tokenizer.json", draft, precision="int8", models=folder / "models",
        check_texts=["很好"], say=_quiet, extra_files=extra,
    )  # fmt: skip


def _texts(folder: Path, count: int = 100, seed: int = 5) -> Path:
    path = folder / "texts.txt"
    path.write_text("".join(f"{row.text}\n" for row in toy_rows(count, seed)), encoding="utf-8")
    return path


def _imported(folder: Path, kind: str) -> Path:
    source = checkpoints.write(folder / "checkpoint", kind)
    return import_model(str(source), "imported", models=folder / "models", precision="int8", say=_quiet)


def _teacher(folder: Path) -> Teacher:
    return load_teacher(str(folder), [], folder / "no-bases")


def _data(folder: Path, teacher: Teacher, recipe: Recipe = RECIPE, **files: object) -> Data:
    files = {"eval": None, "columns": Columns("text", None)} | files
    given = Files(**({"texts": (_texts(folder),)} if "texts" not in files else {}), **files)
    return prepare(given, teacher.base.labels, recipe.eval_share, recipe.seed, lambda tally: None)


def test_a_student_of_unlabelled_texts_learns_what_its_teacher_does(classifier: Path, tmp_path: Path) -> None:
    # Given a fine-tuned model, texts without labels, and a labelled file to judge by
    teacher = _teacher(classifier)
    labelled = write_csv(tmp_path / "eval.csv", toy_rows(40, seed=9))
    data = _data(tmp_path, teacher, eval=labelled, columns=Columns("text", "label"))
    assert {""} == {row.label for row in data.rows[: data.n_train]}
    # When it is distilled into a smaller one
    folder = distil(data, teacher, RECIPE, Places("small", tmp_path / "models", tmp_path / "work"), say=_quiet)
    # Then the loss has fallen, also on texts it has not learned from, where the best epoch was chosen
    report = json.loads((folder / "report.json").read_text())
    losses = [epoch["loss"] for epoch in report["history"]["epochs"]]
    assert 3 == len(losses)
    assert losses[0] > losses[-1]
    assert report["history"]["train_loss"][0]["loss"] > 2 * report["history"]["train_loss"][-1]["loss"]
    assert 1 + losses.index(min(losses)) == report["history"]["best_epoch"]
    # And it finds the labels that its teacher finds
    found = report["metrics"]["distillation"]
    assert 0.9 <= found["agreement"]
    assert 0.9 <= found["accuracy_kept"] <= 1.1
    assert 40 == found["student_on_eval_part"]["texts"]
    # And the folder is one that the worker loads, with the report's files under the manifest
    assert {"model.onnx", "tokenizer.json", "report.json", "learning_curves.png"} == set(check(folder).files)
    model = Classifier.load(folder, run_tokens=512)
    assert (BAD, GOOD) == tuple(sorted(model.manifest.labels, key=[BAD, GOOD].index))
    assert BAD == model.classify([Job("账号太慢abc太慢", True, None)])[0].sentiment.label
    # And nothing is left in the work folder
    assert [] == list((tmp_path / "work").iterdir())


def test_the_report_and_the_card_say_what_size_and_speed_were_gained(classifier: Path, tmp_path: Path) -> None:
    # Given a distilled model
    teacher = _teacher(classifier)
    recipe = replace(RECIPE, epochs=1)
    data = _data(tmp_path, teacher)
    folder = distil(data, teacher, recipe, Places("small", tmp_path / "models", tmp_path / "work"), say=_quiet)
    # Then sizes are those of the files, and both were served in the same precision
    found = read_manifest(folder).metrics["distillation"]
    for who, where in (("teacher", classifier), ("student", folder)):
        sizes = {
            part: (where / name).stat().st_size
            for part, name in (("graph", "model.onnx"), ("tokenizer", "tokenizer.json"))
        }
        assert sizes | {"all": sum(sizes.values())} == found[f"{who}_bytes"]
    assert found["smaller"] == pytest.approx(
        1 - found["student_bytes"]["all"] / found["teacher_bytes"]["all"], abs=1e-4
    )
    assert found["faster"] == pytest.approx(found["student_texts_per_s"] / found["teacher_texts_per_s"], rel=0.02)
    assert found["teacher_precision"] == found["student_precision"]
    assert found["student_precision"].startswith("int8")
    # And no accuracy is claimed where no text had a label
    assert "accuracy_kept" not in found
    # And the card tells it
    card = (folder / "MODEL_CARD.md").read_text()
    assert f"Learned from `{teacher.base.name}`; beside its teacher: {found['smaller']:.1%} smaller" in card
    assert "Distilled from toy/1" in card


def test_a_student_of_an_encoder_does_both_tasks_and_is_as_sure_as_its_teacher(encoder: Path, tmp_path: Path) -> None:
    # Given a model with a centre and temperatures
    teacher = _teacher(encoder)
    data = _data(tmp_path, teacher, texts=(_texts(tmp_path, 240),))
    recipe = replace(RECIPE, shape=Shape(2, 24, 4, 48), epochs=10)
    # When it is distilled
    folder = distil(data, teacher, recipe, Places("small", tmp_path / "models", tmp_path / "work"), say=_quiet)
    # Then the student has the neutral texts, and as its centre what it makes of them itself
    assert NEUTRAL == (folder / "neutral.txt").read_text().splitlines()
    student = Classifier.load(folder, run_tokens=512)
    mean = np.load(folder / "neutral.npy")
    np.testing.assert_allclose(student._model.embed(NEUTRAL, "").mean(0, keepdims=True), mean, atol=1e-6)
    # And it routes as its teacher does, with scores as high
    original = Classifier.load(encoder, run_tokens=512)
    labels = label_set([row.text for row in toy_rows(3, seed=12)])
    texts = [row.text for row in toy_rows(60, seed=11)]
    found = [
        [result.routing for result in model.classify([Job(text, False, model.prepare(labels)) for text in texts])]
        for model in (original, student)
    ]
    same = np.mean([ours.label == theirs.label for theirs, ours in zip(*found, strict=True)])
    assert 0.8 <= same
    sure = [np.mean([scores.score for scores in part]) for part in found]
    assert sure[0] == pytest.approx(sure[1], abs=0.1)
    assert 0.8 <= read_manifest(folder).metrics["distillation"]["routing_agreement"]


def run_and_die(folder: Path, teacher: Path) -> None:
    """What a subprocess of the test below does: a run that kill -9 ends in the middle."""
    torch.set_num_threads(1)

    def on_step(step: int, steps: int) -> None:
        if step == KILLED_AT_STEP:
            os.kill(os.getpid(), signal.SIGKILL)

    taught = _teacher(teacher)
    distil(
        _data(folder, taught), taught, RECIPE, Places("small", folder / "models", folder / "work"), say=_quiet,
        on_step=on_step,
    )  # fmt: skip


def test_a_run_that_was_killed_ends_with_the_weights_of_one_that_ran_through(classifier: Path, tmp_path: Path) -> None:
    # Given a run that is killed in its third epoch, started again
    script = (
        "from pathlib import Path; from tests.training.test_distilling import *; "
        f"run_and_die(Path({str(tmp_path)!r}), Path({str(classifier)!r}))"
    )
    killed = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment(), check=False)
    assert -signal.SIGKILL == killed.returncode
    assert [] == list((tmp_path / "models").glob("**/manifest.json"))
    teacher, said = _teacher(classifier), list[str]()
    data = _data(tmp_path, teacher)
    resumed = distil(data, teacher, RECIPE, Places("small", tmp_path / "models", tmp_path / "work"), say=said.append)
    # And one that ran through
    through = distil(data, teacher, RECIPE, Places("small", tmp_path / "other", tmp_path / "place"), say=_quiet)
    # Then the first asked its teacher nothing twice, went on at the end of the second epoch, and weighs the same
    assert any("the teacher's answers to 100 texts are taken from" in line for line in said)
    assert any(line.startswith("resumed at step 20 of 30") for line in said)
    expected, actual = (load_file(folder / "torch" / "model.safetensors") for folder in (through, resumed))
    assert expected.keys() == actual.keys()
    assert all(torch.equal(expected[name], actual[name]) for name in expected)


def test_labels_of_the_texts_are_learned_too(tmp_path: Path) -> None:
    # Given a teacher that knows nothing, and labelled texts
    teacher = Teacher(toy_base(toy_network(), (BAD, GOOD)), None, None)
    data = _data(tmp_path, teacher, texts=(write_csv(tmp_path / "a.csv", toy_rows(150)),), columns=Columns())
    recipe = replace(
        RECIPE, epochs=4, weights=replace(RECIPE.weights, soft=0.0, states=0.0, hard=1.0), precision="fp32"
    )
    # When labels are all there is to learn
    folder = distil(data, teacher, recipe, Places("small", tmp_path / "models", tmp_path / "work"), say=_quiet)
    # Then the student knows more than its teacher
    found = read_manifest(folder).metrics["distillation"]
    assert 0.9 <= found["student_on_eval_part"]["accuracy"]
    assert 0.8 >= found["teacher_on_eval_part"]["accuracy"]
    assert "none" == found["teacher_precision"] == found["student_precision"]


def test_a_student_may_have_fewer_pieces(encoder: Path, tmp_path: Path) -> None:
    # Given texts that use few of the pieces
    teacher = _teacher(encoder)
    recipe = replace(RECIPE, vocabulary=24, epochs=1)
    data = _data(tmp_path, teacher)
    folder = distil(data, teacher, recipe, Places("small", tmp_path / "models", tmp_path / "work"), say=_quiet)
    # Then the student has no more than allowed, and reads the texts as before
    model = Classifier.load(folder, run_tokens=512)
    assert 24 == load_file(folder / "torch" / "model.safetensors")["trunk.embeddings.word_embeddings.weight"].shape[0]
    assert 2 == len(model.classify([Job("物流很好", True, None)])[0].sentiment.scores)
    # And in its data for learning all tokens are the teacher's
    small, kept = pruned(tiny_tokenizer(), data.texts, 24)
    for text in data.texts:
        assert tiny_tokenizer().encode(text).ids == [kept[number] for number in small.encode(text).ids]


def test_pruned_word_pieces_keep_their_special_tokens(tmp_path: Path) -> None:
    # Given the tokenizer of an imported BERT
    folder = _imported(tmp_path, "sentiment")
    whole = _teacher(folder).base.tokenizer
    small, kept = pruned(whole, ["物流很快", "good quality"], 60)
    # Then what the texts use is there, around it the same special tokens
    assert 60 == small.get_vocab_size() == len(kept)
    assert whole.encode("物流很快").tokens == small.encode("物流很快").tokens
    assert [kept[number] for number in small.encode("物流很快").ids] == whole.encode("物流很快").ids
    with pytest.raises(ModelError, match=r"--vocabulary: 3 pieces are too few; the tokenizer has \d special"):
        pruned(whole, [], 3)


def test_the_temperature_that_brings_a_student_nearest_is_found() -> None:
    # Given a student whose similarities are twice its teacher's, and shifted
    rng = np.random.default_rng(0)
    teacher = rng.normal(size=(300, 6))
    given = Calibration(sentiment=0.7, routing=0.3, multi_label=0.4, multi_label_bias=0.1)
    match = match_routing(teacher, 2 * teacher + 0.5, [[0, 1, 2], [3, 4, 5]], given)
    # Then its temperatures are twice as high, and its labels scored one by one get the same scores
    assert 0.6 == pytest.approx(match.calibration.routing, rel=0.02)
    assert 0.8 == pytest.approx(match.calibration.multi_label, rel=0.01)
    assert (0.1 * 2 + 0.5) == pytest.approx(match.calibration.multi_label_bias, rel=0.01)
    assert (0.7, 1.0, 1.0) == (match.calibration.sentiment, match.agreement, match.correlation)
    # And one whose logits are the same keeps its own
    assert 0.7 == pytest.approx(nearest_temperature([softmax(teacher / 0.7)], [teacher], 0.7), rel=0.01)


def test_stand_ins_for_labels_are_short_and_stand_apart_from_the_texts() -> None:
    texts = ["字" * length for length in range(1, 61)]
    found = stand_ins(texts, 7)
    assert found is not None
    assert [8, 8, 4] == [len(one) for one in found.sets]
    assert sorted(texts[:20]) == sorted(found.labels)
    assert set(texts[20:]) == set(found.texts)
    assert stand_ins(texts[:5], 7) is None


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ((3, 16, None, None), "--layers is 3; the teacher has 2, a student at most as many"),
        ((1, 40, None, None), "--hidden is 40; the teacher has 32"),
        ((1, 18, None, None), r"--hidden 18 cannot be divided among 4 heads; --heads may be 1, 2, 3$"),
        ((1, 16, 8, None), "--heads is 8; the teacher has 4"),
        ((1, 16, None, 65), "--ffn is 65; the teacher has 64"),
        ((2, 32, None, None), "the student has the teacher's own shape"),
    ],
)
def test_a_shape_that_cannot_be_is_refused_with_the_option_to_change(asked: tuple, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        student_shape(Shape(2, 32, 4, 64), *asked)


def test_what_is_not_said_of_a_shape_follows_the_teacher() -> None:
    assert Shape(4, 312, 12, 1248) == student_shape(Shape(12, 768, 12, 3072), 4, 312, None, None)
    assert Shape(4, 312, 12, 1200) == student_shape(Shape(12, 384, 12, 1536), 4, 312, 12, 1200)


def test_a_pair_model_is_no_teacher_and_the_message_says_why(tmp_path: Path) -> None:
    folder = _imported(tmp_path, "zero_shot")
    with pytest.raises(ModelError, match="imported/1 is an nli model: it reads a text beside each label"):
        _teacher(folder)


def test_a_label_that_the_teacher_does_not_know_is_refused_with_its_line(classifier: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\n很好,中评\n", encoding="utf-8")
    with pytest.raises(SourceError, match=r"line 2: the label '中评' is not among .* its teacher's labels"):
        _data(tmp_path, _teacher(classifier), texts=(path,), columns=Columns())


def test_too_few_texts_are_refused(classifier: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"texts.txt: \d different texts to learn from are too few"):
        _data(tmp_path, _teacher(classifier), texts=(_texts(tmp_path, 10),))


def test_a_rate_that_breaks_the_student_is_named(classifier: Path, tmp_path: Path) -> None:
    teacher = _teacher(classifier)
    recipe = replace(RECIPE, rate=1e30)
    with pytest.raises(DivergedError, match=r"the loss became .*; try a lower --rate than 1e\+30"):
        distil(_data(tmp_path, teacher), teacher, recipe, Places("small", tmp_path / "m", tmp_path / "w"), say=_quiet)
    assert not (tmp_path / "m").exists()


def test_a_checkpoint_without_labels_is_distilled_for_its_embeddings(tmp_path: Path) -> None:
    # Given the folder of a base without a head that means anything
    save_base(tmp_path / "base", toy_base(), toy_network(kind=HeadKind.MEAN))
    teacher = _teacher(tmp_path / "base")
    # When it is distilled, then the student is an encoder and nothing else
    folder = distil(
        _data(tmp_path, teacher),
        teacher,
        replace(RECIPE, epochs=1),
        Places("e", tmp_path / "m", tmp_path / "w"),
        say=_quiet,
    )
    assert (ModelKind.ENCODER,) == read_manifest(folder).kind
    assert "routing_agreement" in read_manifest(folder).metrics["distillation"]


def test_an_imported_model_is_distilled_from_the_command_line(tmp_path: Path) -> None:
    # Given a ModelScope checkpoint that was imported, and plain texts
    models = _imported(tmp_path, "sentiment").parent.parent
    rng = random.Random(0)
    path = tmp_path / "texts.txt"
    path.write_text("".join("".join(rng.choices("物流很快质量不好客服差", k=12)) + "\n" for _ in range(60)), "utf-8")
    command = fenliu_command(
        "train", "distill", "--teacher", "imported", "--layers", "1", "--hidden", "32", "--data", str(path), "--name",
        "small", "--epochs", "1", "--batch", "8", "--threads", "1", "--models", str(models),
    )  # fmt: skip
    env = environment(FENLIU_HOME=str(tmp_path / "home"))
    # When it is distilled
    done = subprocess.run(command, cwd=ROOT, env=env, check=False, capture_output=True, text=True)
    # Then the folder's path is all that stands on stdout, and what it gained on stderr
    assert 0 == done.returncode, done.stderr
    folder = Path(done.stdout.strip())
    assert models / "small" / "1" == folder
    assert "smaller" in done.stderr
    assert ("负面", "正面") == check(folder).labels


def test_a_shape_that_cannot_be_is_a_misuse_of_the_command(encoder: Path, tmp_path: Path) -> None:
    arguments = ["distill", "--teacher", str(encoder), "--layers", "1", "--hidden", "18", "--data", "none.txt"]
    done = CliRunner().invoke(app, [*arguments, "--name", "small", "--threads", "1", "--models", str(tmp_path)])
    assert 2 == done.exit_code
    assert "--hidden 18 cannot be divided among 4 heads" in " ".join(done.output.replace("│", " ").split())
