"""`fenliu predict` and `fenliu models` as people run them, with the shipped model; no server is running."""

import json
import os
import pty
import subprocess
from pathlib import Path
from typing import Any

import pytest

from schemas.settings import Settings
from tests.conftest import ROOT, environment, fenliu_command
from tests.models import Home
from worker.inference.classifier import Classifier, Job
from worker.inference.folder import find, shipped_home

FIELDS = ["text", "label", "score", "scores", "model", "model_version"]
TEXTS = [
    "物流太慢了，等了一个星期",
    "非常好，下次还来",
    "垃圾。",
    "The screen was cracked when it arrived and nobody answers my emails.",
    "呢間舖頭啲嘢好正，服務態度一流",
    "[SEP] </s> <mask> [CLS] 普通文字",
    "😀😀😀",
    "酒店位置不错，房间干净，就是隔音差了点。" * 3,
    "这本书我看了三遍。" * 200,
]


@pytest.fixture
def predict(tmp_path):
    """Run `fenliu predict` in a home of its own, with no servers."""

    def run(*arguments: str, input: str | bytes = "", command: str = "predict") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            fenliu_command(command, *arguments),
            input=input.encode() if isinstance(input, str) else input,
            capture_output=True,
            timeout=240,
            cwd=ROOT,
            env=environment(FENLIU_HOME=str(tmp_path)),
            check=False,
        )

    return run


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    settings = Settings()
    return Classifier.load(find(settings.model, [shipped_home()]), run_tokens=settings.run_tokens)


def results(done: subprocess.CompletedProcess[bytes]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.decode().splitlines()]


def test_plain_lines_in_json_lines_out_in_order(predict):
    done = predict("--task", "sentiment", input="\n\n".join(TEXTS) + "\n")
    found = results(done)
    assert (0, b"") == (done.returncode, done.stderr)
    assert TEXTS == [result["text"] for result in found]
    for result in found:
        assert FIELDS == list(result)
        assert {"positive", "negative"} == set(result["scores"])
        assert sorted(result["scores"].values(), reverse=True) == list(result["scores"].values())
        assert result["scores"][result["label"]] == result["score"] == max(result["scores"].values())
        assert pytest.approx(1.0) == sum(result["scores"].values())
        assert Settings().model.partition("/")[0] == result["model"]


def test_a_file_of_json_lines_gives_the_same_as_plain_lines(predict, tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"id": 1, "text": text}) + "\n" for text in TEXTS), encoding="utf-8")
    assert results(predict(input="\n".join(TEXTS))) == results(predict(str(path), "--json"))


def test_tickets_go_to_the_label_that_fits(predict, tmp_path):
    # Given teams with one-line descriptions and tickets in three tongues
    labels = tmp_path / "teams.yaml"
    labels.write_text(
        "物流: 快递、发货、包裹在路上的问题\n"
        "账号: 登录、密码、注册、验证码\n"
        "退款: {description: 退货退款、钱没有退回来, examples: [钱什么时候退给我]}\n"
    )
    tickets = {
        "包裹三天没动了，快递在哪里": "物流",
        "忘记密码，登录不了": "账号",
        "退货一个月了，钱还没退回来": "退款",
        "個包裹仲未到，快遞好慢": "物流",
        "I forgot my password and cannot log in": "账号",
    }
    # when they are routed, then each has its team, and nothing but the labels is in the scores
    found = results(predict("--task", "routing", "--labels-file", str(labels), input="\n".join(tickets)))
    assert tickets == {result["text"]: result["label"] for result in found}
    assert all({"物流", "账号", "退款"} == set(result["scores"]) for result in found)


def test_several_labels_may_hold(predict):
    text = "快递太慢，而且客服态度很差"
    found = results(predict("--labels", "物流，服务态度, 天气", "--multi-label", "--template", "关于{}", input=text))[0]
    assert {"物流", "服务态度", "天气"} == set(found["scores"])
    assert "天气" == list(found["scores"])[-1]


def test_a_pair_model_and_a_cascade_are_named_like_any_model(predict, tmp_path):
    # Given a model for pairs in the home, and a cascade made of the shipped model and it
    Home(tmp_path / "models").add_nli()
    made = predict("cascade", "both", Settings().model, "pairs", "--keep", "2", command="models")
    assert (0, "both/1") == (made.returncode, made.stdout.decode().strip())
    # when a ticket is routed by each
    labels = ["--labels", "物流，账号, 退款"]
    ticket = "包裹三天没动了"
    by_pair, by_both = (results(predict(*labels, "--model", name, input=ticket))[0] for name in ("pairs", "both/1"))
    encoded = results(predict(*labels, input=ticket))[0]
    # then the pair model decides between the two labels that the shipped one holds likeliest
    assert [("pairs", "1"), ("both", "1")] == [(each["model"], each["model_version"]) for each in (by_pair, by_both)]
    out = list(encoded["scores"])[-1]
    assert encoded["scores"][out] == pytest.approx(by_both["scores"][out], abs=1e-6)
    assert [name for name in by_pair["scores"] if name != out] == [name for name in by_both["scores"] if name != out]
    assert pytest.approx(1.0) == sum(by_both["scores"].values())
    # and the cascade has the shipped model's sentiment, and is listed
    sentiment = [results(predict("--model", name, input="很好"))[0]["scores"] for name in ("both", Settings().model)]
    assert sentiment[0] == sentiment[1]
    listed = {model["name"]: model for model in results_of_json(predict("list", "--json", command="models"))}
    assert (["cascade"], None) == (listed["both"]["kind"], listed["both"]["problem"])
    # and a second one is another version
    assert b"both/2\n" == predict("cascade", "both", Settings().model, "pairs", command="models").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["x/y", "fenliu-e5", "pairs"], 2, "is no model name"),
        (["x", "fenliu-e5", "nothing"], 1, "no model 'nothing'"),
        (["x", "pairs", "fenliu-e5"], 1, "pairs/1 is no encoder model: its kind is nli"),
        (["x", "fenliu-e5", "fenliu-e5"], 1, "is no nli model"),
    ],
)
def test_a_cascade_of_what_does_not_fit_is_not_made(predict, tmp_path, arguments, code, reason):
    Home(tmp_path / "models").add_nli()
    done = predict("cascade", *arguments, command="models")
    assert code == done.returncode
    assert reason in " ".join(done.stderr.decode().replace("│", " ").split())
    assert ["pairs"] == [path.name for path in (tmp_path / "models").iterdir()]


def test_a_text_alone_and_in_a_batch_gets_the_same_scores(classifier):
    # Given texts from one character to a novel, and both tasks
    labels = classifier.prepare(_teams())
    jobs = [Job(text, sentiment=True, labels=labels) for text in [*TEXTS, *(text[:5] for text in TEXTS)]]
    together = classifier.classify(jobs * 2)
    # when each runs alone, then its scores are those of the batch
    for number, job in enumerate(jobs):
        alone = classifier.classify([job])[0]
        for batched in (together[number], together[number + len(jobs)]):
            assert pytest.approx(alone.sentiment.scores, abs=1e-6, rel=0) == batched.sentiment.scores
            assert pytest.approx(alone.routing.scores, abs=1e-6, rel=0) == batched.routing.scores


def test_the_longest_text_that_is_allowed_is_read_whole(classifier):
    text = "位置很好，房间很大。" * 2_000
    result = classifier.classify([Job(text, sentiment=True, labels=None)])[0]
    assert 20_000 == len(text)
    assert result.tokens > result.windows * classifier.manifest.max_tokens // 2
    assert pytest.approx(1.0) == sum(result.sentiment.scores.values())


def test_what_a_user_types_cannot_end_the_sequence(classifier):
    # Given the same words with strings in between that look like special tokens
    plain, typed = "退款 快点", "退款 </s> 快点"
    tokens = [result.tokens for result in classifier.classify([Job(text, True, None) for text in (plain, typed)])]
    # when they are tokenized, then those strings are text: several more tokens
    assert tokens[1] >= tokens[0] + 2


def test_bad_lines_are_named_and_the_others_classified(predict):
    lines = [
        b'{"text": "\xe5\xa5\xbd"}',
        b'{"text": 5}',
        b"not json",
        b'{"text": ""}',
        b'{"text": "\\ud800"}',
        b'{"text": "fine"}',
    ]
    done = predict(input=b"\n".join(lines))
    assert (1, ["好", "fine"]) == (done.returncode, [result["text"] for result in results(done)])
    errors = done.stderr.decode().splitlines()
    assert [f"error: line {number}:" for number in (2, 3, 4, 5)] == [" ".join(line.split()[:3]) for line in errors]


def test_a_slow_writer_is_answered_line_by_line(tmp_path):
    # Given a program that writes a text only after it has read the answer to the one before
    process = subprocess.Popen(
        fenliu_command("predict"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=environment(FENLIU_HOME=str(tmp_path)),
    )
    assert process.stdin
    assert process.stdout
    with process:
        for text in TEXTS[:3]:
            process.stdin.write(text.encode() + b"\n")
            process.stdin.flush()
            # when it waits, then the answer comes though more could follow
            assert text == json.loads(process.stdout.readline())["text"]
        process.stdin.close()
        assert b"" == process.stdout.read()
    assert 0 == process.returncode


def test_a_person_at_a_terminal_sees_bars(tmp_path):
    # Given stdout on a terminal, and a text with terminal codes and markup in it
    leader, follower = pty.openpty()
    done = subprocess.run(
        fenliu_command("predict"),
        input="很好[red]\x1b[2J\n".encode(),
        stdout=follower,
        cwd=ROOT,
        env=environment(FENLIU_HOME=str(tmp_path), TERM="dumb", COLUMNS="80"),
        timeout=240,
        check=False,
    )
    os.close(follower)
    shown = os.read(leader, 4096).decode()
    os.close(leader)
    assert 0 == done.returncode
    assert "█" in shown
    assert "很好[red] [2J" in shown


def test_a_reader_that_leaves_early_is_no_disaster(tmp_path):
    # Given far more output than a pipe holds, and `head -1` at its end
    process = subprocess.Popen(
        fenliu_command("predict"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env=environment(FENLIU_HOME=str(tmp_path)),
    )
    assert process.stdin
    assert process.stdout
    assert process.stderr
    process.stdin.write(b"ok\n" * 2_000)
    process.stdin.close()
    process.stdout.readline()
    process.stdout.close()
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
    process.wait()


@pytest.mark.parametrize(
    ("arguments", "fix"),
    [
        (["--task", "routing"], "--labels-file"),
        (["--task", "routing", "--labels", ","], "at least one"),
        (["--labels", "a,a"], "twice"),
        (["--labels", "a", "--labels-file", "b.yaml"], "not both"),
        (["--task", "sentiment", "--labels", "a"], "--task routing"),
        (["--multi-label"], "--task routing"),
        (["--labels", "a,b", "--template", "no place"], "must hold {} once"),
        (["--task", "poetry"], "sentiment"),
        (["no-such-file.txt"], "is no file"),
        (["--surprise"], "No such option"),
    ],
)
def test_misuse_exits_2_and_says_what_to_do(predict, arguments, fix):
    done = predict(*arguments)
    message = " ".join(done.stderr.decode().replace("│", " ").split())
    assert (2, b"") == (done.returncode, done.stdout)
    assert fix in message


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--model", "no-such-model"], "no model 'no-such-model'. Known: "),
        (["--model", "../../etc"], "no model name"),
        (["--labels-file", "no-such.yaml"], "no-such.yaml: No such file"),
    ],
)
def test_what_cannot_be_done_exits_1_with_the_reason(predict, arguments, reason):
    done = predict(*arguments, input="a")
    assert (1, b"") == (done.returncode, done.stdout)
    assert reason in done.stderr.decode()


def test_a_csv_file_is_refused_before_its_header_is_taken_for_a_text(predict, tmp_path):
    (tmp_path / "texts.csv").write_text("id,text\n1,a\n")
    done = predict(str(tmp_path / "texts.csv"))
    assert (2, b"") == (done.returncode, done.stdout)


def test_models_are_listed_with_the_one_in_production(predict):
    done = predict("list", "--json", command="models")
    listed = results_of_json(done)
    production = [model for model in listed if model["production"]]
    assert 1 == len(production)
    assert ["sentiment", "routing"] == production[0]["tasks"]
    assert production[0]["size_bytes"] <= 45_000_000
    assert production[0]["name"] in predict("list", command="models").stdout.decode()


def test_a_model_is_shown_with_its_card(predict):
    shown = results_of_json(predict("show", "--json", command="models"))
    assert shown["production"]
    assert Path(shown["card"]).is_file()
    assert {"model.onnx", "tokenizer.json"} <= set(shown["files"])
    plain = predict("show", shown["name"], command="models")
    assert (0, b"") == (plain.returncode, plain.stderr)
    assert 1 == predict("show", "nothing", command="models").returncode


def results_of_json(done: subprocess.CompletedProcess[bytes]) -> Any:
    assert (0, b"") == (done.returncode, done.stderr)
    return json.loads(done.stdout)


def _teams():
    from schemas.labels import label_set

    return label_set({"物流": "快递、发货", "账号": "登录、密码", "退款": None})
