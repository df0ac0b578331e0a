"""`fenliu train evaluate` and `baseline`: a model and labelled texts in, figures and mistakes out."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

from schemas.errors import LabelsError, ModelError, SourceError
from schemas.labels import label_set
from schemas.manifest import read_manifest
from tests.conftest import ROOT, environment
from tests.models import Home
from training.data_files import Columns
from training.evaluating import files, record
from training.evaluating.asking import Answers, ask, time_alone
from training.evaluating.data import label_column, parse_mapping, read
from training.evaluating.figures import TriageRule, figures
from training.evaluating.run import Place, Question, evaluate_model
from worker.inference.classifier import Classifier, Job

TEXTS = ["物流太慢了", "很好", "账号登录不了", "退款太慢", "很快，很好", "质量差"]
LABELS = ("negative", "positive")
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "models")


def _found(folder: Path) -> list[str]:
    """What the product says of TEXTS."""
    results = Classifier.load(folder, run_tokens=512).classify([Job(text, True, None) for text in TEXTS])
    return [result.sentiment.label for result in results]


def _csv(path: Path, rows: list[tuple[str, str]], header: str = "text,label") -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([header.split(","), *rows])
    return path


def _question(data: Path, **changes: object) -> Question:
    given: dict = {
        "data": data,
        "columns": Columns(),
        "encoding": "utf-8",
        "mapping": {},
        "teams": None,
        "template": None,
        "threshold": 0.5,
        "margin": 0.0,
    }
    return Question(**(given | changes))


def _evaluated(folder: Path, question: Question, out: Path, *, write_metrics: bool = False) -> tuple[dict, str]:
    place = Place("mine", out, write_metrics=write_metrics)
    report, text = evaluate_model(
        folder, question, place, run_tokens=512, threads=1, latency_texts=3, on_texts=lambda done, of: None
    )
    return json.loads(json.dumps(report)), text


def test_an_evaluation_counts_what_the_product_says_and_keeps_the_mistakes(home: Home, tmp_path: Path) -> None:
    # Given labels that agree with the model on all texts but the second
    folder = home.add()
    labels = _found(folder)
    labels[1] = next(label for label in LABELS if label != labels[1])
    data = _csv(tmp_path / "mine.csv", list(zip(TEXTS, labels, strict=True)))
    # When it is evaluated
    report, text = _evaluated(folder, _question(data), tmp_path / "out")
    # Then five of six are right, in every place that says so
    assert 0.8333 == report["accuracy"]
    assert 5 == sum(report["confusion"][number][number] for number in range(2))
    assert "accuracy" in text
    written = tmp_path / "out"
    assert report == json.loads((written / files.REPORT_FILE).read_text())
    assert "0.8333" in (written / files.TEXT_FILE).read_text()
    # And the mistake is named with its line and both labels
    with (written / files.WRONG_FILE).open(encoding="utf-8", newline="") as file:
        (mistake,) = csv.DictReader(file)
    expected = {"line": "3", "text": TEXTS[1], "expected": labels[1], "runner_up": labels[1]}
    assert expected == {key: mistake[key] for key in expected}
    # And there are pictures, the data's identity, and times
    assert all((written / name).read_bytes().startswith(PNG) for name in (files.CONFUSION_FILE, files.CONFIDENCE_FILE))
    assert {"file": "mine.csv", "rows": 6} == {key: report["data"][key] for key in ("file", "rows")}
    assert 3 == report["latency"]["alone"]["texts"]
    assert 1 == report["latency"]["threads"]


def test_figures_go_into_manifest_and_card_only_if_wished(home: Home, tmp_path: Path) -> None:
    # Given a model with an earlier figure, and a card with a story of its own
    folder = home.add(metrics={"parity": {"texts": 4}})
    (folder / "MODEL_CARD.md").write_text("# tiny/1\n\n## Training\n\nThree epochs.\n\n## Format\n\nSmall.\n")
    before = (folder / "manifest.json").read_bytes()
    data = _csv(tmp_path / "mine.csv", list(zip(TEXTS, _found(folder), strict=True)))
    # When it is evaluated without being asked to write
    report, _ = _evaluated(folder, _question(data), tmp_path / "out")
    # Then the folder is as it was
    assert before == (folder / "manifest.json").read_bytes()
    # When it is asked to, twice
    for _ in range(2):
        _evaluated(folder, _question(data), tmp_path / "out", write_metrics=True)
    # Then the manifest has the report's numbers beside the earlier ones, and still loads
    metrics = read_manifest(folder).metrics
    assert {"parity", "mine"} == set(metrics)
    for key in ("accuracy", "macro_f1", "calibration_error", "per_class", "data"):
        assert report[key] == metrics["mine"][key], key
    assert _found(folder)
    # And the card says so once, with its own story kept
    card = (folder / "MODEL_CARD.md").read_text()
    assert 1 == card.count("| mine | 1.0000 |")
    assert ["# tiny/1", "## Training", "## Measured", "## Format"] == [
        line for line in card.splitlines() if line.startswith("#")
    ]
    assert "Three epochs." in card
    # And nothing else is left beside the version
    assert [folder] == list(folder.parent.iterdir())


def test_a_model_without_a_card_gets_one(home: Home) -> None:
    folder = home.add()
    (folder / "MODEL_CARD.md").unlink()
    record.record(folder, "mine", {"accuracy": 0.5, "texts": 2})
    assert "| mine | 0.5000 |" in (folder / "MODEL_CARD.md").read_text()


@pytest.mark.parametrize("kind", ["encoder", "nli", "cascade"])
def test_routing_is_measured_among_the_teams_given_with_what_triage_keeps(
    home: Home, tmp_path: Path, kind: str
) -> None:
    # Given tickets with the team that the model finds, one team with a threshold that no score reaches
    folders = {"encoder": home.add(), "nli": home.add_nli(), "cascade": home.add_cascade()}
    folder = folders[kind]
    teams = label_set({"物流": "快递和配送", "账号": {"description": "登录", "threshold": 1.0}, "退款": None})
    model = Classifier.load(folder, run_tokens=512)
    prepared = model.prepare(teams)
    found = [result.routing.label for result in model.classify([Job(text, False, prepared) for text in TEXTS])]
    data = _csv(tmp_path / "tickets.csv", list(zip(TEXTS, found, strict=True)), "text,team")
    # When they are evaluated with no threshold for the others
    question = _question(data, columns=Columns("text", "team"), teams=teams, threshold=0.0)
    report, text = _evaluated(folder, question, tmp_path / "out")
    # Then all are right, and just the tickets of that team go to triage
    assert ("routing", 1.0) == (report["task"], report["accuracy"])
    assert ["物流", "账号", "退款"] == [of["label"] for of in report["per_class"]]
    kept = 1.0 if set(found) - {"账号"} else None
    assert {"share": round(found.count("账号") / 6, 4), "accuracy_of_rest": kept} == {
        key: report["triage"][key] for key in ("share", "accuracy_of_rest")
    }
    assert "triage below 0.0" in text


def test_a_model_that_cannot_answer_says_what_is_missing(home: Home, tmp_path: Path) -> None:
    # Given an encoder without labels of its own, and a classifier that routes nothing
    data = _csv(tmp_path / "mine.csv", [("很好", "positive")])
    encoder = home.add("encoder", kind=["encoder"], tasks=["routing"], labels=[])
    classifier = home.add("classifier", kind=["classifier"], tasks=["sentiment"])
    # Then each names what would help
    with pytest.raises(ModelError, match=r"encoder/1 has no labels of its own; .* --labels-file teams.yaml"):
        _evaluated(encoder, _question(data), tmp_path / "out")
    with pytest.raises(ModelError, match="classifier/1 cannot score labels"):
        _evaluated(classifier, _question(data, teams=label_set(["positive", "b"])), tmp_path / "out")
    with pytest.raises(LabelsError, match="among two labels at least"):
        _evaluated(encoder, _question(data, teams=label_set(["positive"])), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_labels_that_the_model_does_not_know_are_named_with_the_way_to_map_them(tmp_path: Path) -> None:
    # Given a file with labels of its own
    data = _csv(tmp_path / "mine.csv", [("很好", "正面"), ("一般", "x"), ("真好", "正面"), ("差", "negative")])
    # When it is read as it is
    with pytest.raises(SourceError) as raised:
        read(data, LABELS, Columns(), {})
    # Then every unknown label is named, where, how often, and what to add
    assert [
        f"{data}: has labels that the model does not know; it knows negative, positive",
        "  '正面': 2 rows, the first on line 2; correct it, or add --map 正面=positive",
        "  'x': 1 row, the first on line 3; correct it, or add --map x=LABEL",
    ] == str(raised.value).splitlines()
    # And with that added it is read
    mapped = read(data, LABELS, Columns(), parse_mapping(["正面=positive", "x = negative"]))
    assert ["positive", "negative", "positive", "negative"] == [row.label for row in mapped.rows]


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        (["正面"], "--map '正面': expected OWN=MEANT"),
        (["a=positive", "a=negative"], "--map gives 'a' two meanings: positive and negative"),
    ],
)
def test_a_mapping_that_makes_no_sense_is_refused(pairs: list[str], said: str) -> None:
    with pytest.raises(SourceError, match=said):
        parse_mapping(pairs)


def test_a_mapping_to_no_label_and_a_bad_line_are_named(tmp_path: Path) -> None:
    data = _csv(tmp_path / "mine.csv", [("很好", "positive"), ("", "positive")])
    with pytest.raises(SourceError, match="--map 正面=good: 'good' is no label of the model"):
        read(data, LABELS, Columns(), {"正面": "good"})
    with pytest.raises(SourceError, match="line 3: 'text' is empty"):
        read(data, LABELS, Columns(), {})


@pytest.mark.parametrize(
    ("name", "content", "column"),
    [
        ("a.csv", "id,text,team\n1,b,c\n", "team"),
        ("a.tsv", "\ufefftext\tteam\nb\tc\n", "team"),
        ("a.csv", "text,team,label\nb,c,d\n", "label"),
        ("a.jsonl", '{"text": "b", "team": "c"}\n', "team"),
        ("a.jsonl", "{broken", "label"),
        ("a.parquet", "no Parquet", "label"),
    ],
)
def test_the_team_column_is_found_where_there_is_no_label(tmp_path: Path, name: str, content: str, column: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert column == label_column(tmp_path / name)


def test_the_team_column_of_a_parquet_file_is_found(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"text": ["很好"], "team": ["positive"]}), path)
    assert "team" == label_column(path)
    assert "label" == label_column(tmp_path / "none.parquet")


def test_figures_by_hand() -> None:
    # Given three texts of classes a, a, b: sure and right, unsure and wrong, sure and right
    probabilities = np.array([[0.9, 0.1], [0.45, 0.55], [0.0, 1.0]])
    answers = Answers(probabilities, np.array([0, 1, 1]), np.array([3, 3, 3]), batches_s=1.0)
    # When they are measured with a threshold of 0.5 and a lead of 0.2
    found = figures(np.array([0, 0, 1]), answers, ["a", "b"], TriageRule(label_set(["a", "b"]), 0.5, 0.2))
    # Then two of three are right, and the unsure one would have gone to triage
    assert 0.6667 == found.classification.accuracy
    assert round(((0.02) + (2 * 0.55**2) + 0) / 3, 4) == found.brier
    assert round(-(np.log(0.9) + np.log(0.45)) / 3, 4) == found.negative_log_likelihood
    at = {part.threshold: (part.share, part.accuracy) for part in found.coverage}
    assert ((1.0, 0.6667), (0.6667, 1.0), (0.3333, 1.0)) == (at[0.5], at[0.6], at[0.99])
    assert (0.3333, 1.0) == (found.triage.share, found.triage.accuracy_of_rest)


def test_no_text_is_sure_enough() -> None:
    answers = Answers(np.array([[0.4, 0.6]]), np.array([1]), np.array([3]), batches_s=1.0)
    found = figures(np.array([1]), answers, ["a", "b"], TriageRule(label_set(["a", "b"]), 0.9, 0.0))
    assert (1.0, None) == (found.triage.share, found.triage.accuracy_of_rest)
    assert (0.0, None) == (found.coverage[-1].share, found.coverage[-1].accuracy)


def test_answers_are_the_products_own_whatever_they_are_grouped_with(home: Home) -> None:
    # Given more texts than fit one batch
    model = Classifier.load(home.add(), run_tokens=64)
    texts = TEXTS * 50
    done: list[int] = []
    # When the model is asked about all
    answers = ask(model, texts, LABELS, None, done.append)
    # Then each row is what the product says of the text alone
    (alone,) = model.classify([Job(texts[299], True, None)])
    assert [alone.sentiment.scores[label] for label in LABELS] == pytest.approx(answers.probabilities[299], abs=1e-6)
    assert alone.sentiment.label == LABELS[answers.found[299]]
    assert alone.tokens == answers.tokens[299]
    assert [256, 300] == done
    # And as many are timed alone as wished
    assert [0, 7, 300] == [len(time_alone(model, texts, None, most)) for most in (0, 7, 1000)]


def _train(*arguments: str, tmp_path: Path, without: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    script = (
        "import sys\n"
        "class Hidden:\n"
        "    def find_spec(name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {without!r}: raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Hidden)\n"
        f"sys.argv = ['fenliu', 'train', *{arguments!r}]\n"
        "import fenliu; fenliu.main()\n"
    )
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=environment(None, FENLIU_HOME=str(tmp_path)),
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_needs_no_torch_and_writes_into_the_models_of_the_home_alone(home: Home, tmp_path: Path) -> None:
    # Given a model in FENLIU_HOME/models and an interpreter without torch
    folder = home.add()
    data = _csv(tmp_path / "mine.csv", list(zip(TEXTS, _found(folder), strict=True)))
    torchless = ("torch", "transformers", "onnx")
    # When it is evaluated by name
    done = _train("evaluate", "--model", "tiny", "--data", str(data), "--json", tmp_path=tmp_path, without=torchless)
    # Then stdout is the report, and the figures are in the manifest
    assert 0 == done.returncode, done.stderr
    assert 1.0 == json.loads(done.stdout)["accuracy"]
    assert 1.0 == read_manifest(folder).metrics["mine"]["accuracy"]
    assert (tmp_path / "evaluations" / "tiny-1-mine" / "report.json").exists()
    # When a model elsewhere is evaluated by its folder
    other = Home(tmp_path / "elsewhere").add()
    done = _train("evaluate", "--model", str(other), "--data", str(data), tmp_path=tmp_path, without=torchless)
    # Then its manifest stays as it is, and stdout ends with where the files are
    assert 0 == done.returncode, done.stderr
    assert {} == read_manifest(other).metrics
    assert done.stdout.endswith("tiny-1-mine\n")


def test_missing_packages_and_bad_options_say_what_to_do(home: Home, tmp_path: Path) -> None:
    folder = home.add()
    data = _csv(tmp_path / "int8.csv", list(zip(TEXTS, _found(folder), strict=True)))
    asked = ("evaluate", "--model", "tiny", "--data", str(data))
    for arguments, without, code, said in (
        (asked, ("sklearn",), 1, "error: this needs the package sklearn: pip install 'fenliu[worker,training]'"),
        (asked, (), 1, "error: --name: figures cannot be filed under 'int8'; give another name"),
        ((*asked, "--template", "{}"), (), 2, "add --labels or --labels-file"),
        ((*asked, "--labels", "a,b", "--template", "x"), (), 2, "must hold {} once"),
    ):
        done = _train(*arguments, tmp_path=tmp_path, without=without)
        assert (code, "") == (done.returncode, done.stdout), done.stderr
        assert said in " ".join(done.stderr.replace("│", " ").split()), done.stderr


def test_a_baseline_learns_from_one_file_and_is_measured_on_another(tmp_path: Path) -> None:
    # Given texts whose class shows in a word
    train = _csv(
        tmp_path / "train.csv",
        [(f"{number}号商品很好", "good") for number in range(10)]
        + [(f"{number}号商品太差", "bad") for number in range(10)],
    )
    data = _csv(tmp_path / "test.csv", [("这个很好", "good"), ("太差了", "bad"), ("很好很好", "正面")])
    # When a linear model learns from them
    asked = ("baseline", "--train", str(train), "--data", str(data), "--json")
    done = [
        json.loads(_train(*asked, "--model", model, "--map", "正面=good", tmp_path=tmp_path).stdout)
        for model in ("svm", "logistic")
    ]
    # Then it is right on new ones
    assert [(3, 1.0, 1.0)] * 2 == [(found["texts"], found["accuracy"], found["macro_f1"]) for found in done]
    # And a label it never saw is named
    refused = _train(*asked, tmp_path=tmp_path)
    assert (1, "") == (refused.returncode, refused.stdout)
    assert "'正面': 1 row, the first on line 4; correct it, or add --map 正面=LABEL" in refused.stderr
