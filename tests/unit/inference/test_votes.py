"""What the windows of a long text say by themselves: where they stand, and that their mean is the text's score."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from schemas.labels import label_set
from schemas.names import Stage
from tests.models import Home
from worker.inference.classifier import Classifier, Job
from worker.inference.scores import VOTE_LABELS, Scores

LONG = "物流太慢" * 8 + " " + "很好" * 14
LABELS = ["物流", "退款", "a", "b"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = Home(tmp_path_factory.mktemp("models"))
    home.add()
    home.add_nli()
    home.add_cascade()
    return home.path


def _asked(model: Classifier, text: str, *, multi_label: bool = False, explain: bool = True) -> list[Scores]:
    sentiment = "sentiment" in model.manifest.tasks
    labels = model.prepare(label_set(LABELS))
    (result,) = model.classify([Job(text, sentiment, labels, multi_label, explain=explain)])
    return [scores for scores in (result.sentiment, result.routing) if scores]


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("name", ["tiny", "pairs"])
def test_the_text_gets_the_mean_of_its_windows(models: Path, name: str, multi_label: bool) -> None:
    # Given a text of several windows, all of them equally full
    model = Classifier.load(models / name / "1", run_tokens=64)
    for scores in _asked(model, LONG, multi_label=multi_label):
        # then the windows go from its first character to its last, and overlap
        votes = scores.votes
        assert len(votes) >= 2
        assert (0, len(LONG)) == (votes[0].start, votes[-1].end)
        assert all(before.start < after.start < before.end for before, after in itertools.pairwise(votes))
        # and their mean is what the text got
        mean = {label: sum(vote.scores[label] for vote in votes) / len(votes) for label in scores.scores}
        assert pytest.approx(mean, abs=1e-6) == scores.scores


def test_a_window_is_as_long_as_what_the_model_read_of_it(models: Path) -> None:
    # Given windows that say what a short text of their words alone says
    model = Classifier.load(models / "tiny" / "1", run_tokens=64)
    text = "物流" * 30
    (sentiment, _) = _asked(model, text)
    first = sentiment.votes[0]
    # when the first one's words are asked about by themselves, then nothing was cut and the answer is the same
    (alone, _) = _asked(model, text[first.start : first.end])
    assert () == alone.votes
    assert pytest.approx(first.scores, abs=1e-6) == alone.scores


def test_of_a_cascade_those_vote_who_decided(models: Path) -> None:
    model = Classifier.load(models / "both" / "1", run_tokens=64)
    sentiment, routing = _asked(model, LONG)
    assert (Stage.PAIR, 2) == (routing.stage, len(routing.votes[0].scores))
    assert routing.label in routing.votes[0].scores
    assert {"negative", "positive"} == set(sentiment.votes[0].scores)


def test_who_does_not_ask_pays_nothing(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a model that cannot tell where tokens stand
    model = Classifier.load(models / "tiny" / "1", run_tokens=64)
    monkeypatch.setattr(model._model.tokenizer, "places", None)
    # when nobody asks, or the text is short, then it is not asked either
    assert [(), ()] == [scores.votes for scores in _asked(model, LONG, explain=False)]
    assert [(), ()] == [scores.votes for scores in _asked(model, "物流太慢")]


def test_of_many_labels_a_window_names_its_best(models: Path) -> None:
    model = Classifier.load(models / "tiny" / "1", run_tokens=64)
    labels = model.prepare(label_set([f"{character}{number}" for character in "abcd" for number in range(5)]))
    (result,) = model.classify([Job(LONG, False, labels, explain=True)])
    assert result.routing
    assert {VOTE_LABELS} == {len(vote.scores) for vote in result.routing.votes}


@pytest.mark.parametrize("text", ["物流 </s>" * 12, "\ufdfa" * 20, "ａｂｃ" * 20, "😀" * 40, "\u3000" * 40 + "好" * 40])
def test_places_are_characters_of_the_text_whatever_it_holds(models: Path, text: str) -> None:
    model = Classifier.load(models / "tiny" / "1", run_tokens=64)
    for vote in _asked(model, text)[0].votes:
        assert 0 <= vote.start < vote.end <= len(text)
