"""Two models, one answer: the encoder picks, the pair model decides, and all labels still add up."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ModelError
from schemas.labels import LabelSet, label_set
from schemas.names import Stage
from tests.models import Home
from worker.inference.cascade import merged
from worker.inference.classifier import Classifier, Job
from worker.inference.folder import check, list_models, size_bytes
from worker.inference.scores import Scores, descending, softmax

TEXTS = ["物流太慢了", "很好", "退款", "登录不了账号", "a</s>b", "物流" * 60, "abc def", "很好" * 9, "😀"]
TEAMS = label_set(
    {"物流": "太慢", "账号": None, "退款": {"description": "", "examples": ["退款太慢"]}, "a": None, "b": "c"}
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("models"))
    home.add()
    home.add_nli()
    home.add_cascade()
    return home


@pytest.fixture(scope="module")
def cascade(models) -> Classifier:
    return Classifier.load(models.path / "both" / "1", run_tokens=64)


@pytest.fixture(scope="module")
def encoder(models) -> Classifier:
    return Classifier.load(models.path / "tiny" / "1", run_tokens=64)


@pytest.fixture(scope="module")
def pairs(models) -> Classifier:
    return Classifier.load(models.path / "pairs" / "1", run_tokens=64)


def routed(model: Classifier, text: str, labels=TEAMS, *, multi_label: bool = False) -> Scores:
    found = model.classify([Job(text, False, model.prepare(labels), multi_label)])[0].routing
    assert found
    return found


@pytest.mark.parametrize("text", TEXTS)
def test_the_pair_model_decides_among_the_encoders_best(cascade, encoder, pairs, text):
    # Given what each model says by itself: the encoder of all labels, the pair model of the encoder's best two
    first = routed(encoder, text).scores
    best = list(first)[:2]
    second = routed(pairs, text, LabelSet(tuple(label for label in TEAMS.labels if label.name in best)))
    # when the cascade is asked
    found = routed(cascade, text)
    # then the two share what the encoder gave them, as the pair model divides it, and the others keep what they had
    mass = sum(first[name] for name in best)
    expected = first | {name: mass * second.scores[name] for name in best}
    assert pytest.approx(expected, abs=1e-6) == found.scores
    assert (second.label, Stage.PAIR) == (found.label, found.stage)
    assert pytest.approx(1.0) == sum(found.scores.values())


def test_few_labels_are_all_the_pair_models(cascade, pairs):
    labels = label_set(["物流", "退款"])
    assert routed(pairs, "物流太慢", labels) == routed(cascade, "物流太慢", labels)


def test_a_label_that_stands_alone_is_the_pair_models(cascade, pairs):
    assert routed(pairs, "很好", label_set(["物流"])) == routed(cascade, "很好", label_set(["物流"]))


@pytest.mark.parametrize("text", TEXTS)
def test_in_multi_label_each_label_keeps_the_score_of_its_judge(cascade, encoder, pairs, text):
    first, second = (routed(model, text, multi_label=True).scores for model in (encoder, pairs))
    found = routed(cascade, text, multi_label=True)
    best = list(first)[:2]
    assert pytest.approx(first | {name: second[name] for name in best}, abs=1e-6) == found.scores
    assert (Stage.PAIR if found.label in best else Stage.ENCODER) == found.stage


def test_its_sentiment_is_the_encoders(cascade, encoder):
    jobs = [Job(text, sentiment=True, labels=None) for text in TEXTS]
    assert [result.sentiment for result in encoder.classify(jobs)] == [r.sentiment for r in cascade.classify(jobs)]


def test_the_encoder_passes_once_for_both_tasks(cascade, monkeypatch):
    seen: list[int] = []
    engine = cascade._model.engine
    run = engine.run
    labels = cascade.prepare(TEAMS)
    monkeypatch.setattr(engine, "run", lambda sequences: (seen.append(len(sequences)), run(sequences))[1])
    cascade.classify([Job("物流太慢", sentiment=True, labels=labels)])
    assert [1] == seen


def test_a_text_alone_and_in_any_batch_gets_the_same_scores(cascade):
    labels, few = cascade.prepare(TEAMS), cascade.prepare(label_set(["a", "物流"]))
    jobs = [Job(text, True, own, multi) for text in TEXTS for own in (labels, few) for multi in (False, True)]
    alone = [cascade.classify([job])[0] for job in jobs]
    for seed in range(3):
        order = list(range(len(jobs))) * 2
        random.Random(seed).shuffle(order)
        for number, result in zip(order, cascade.classify([jobs[number] for number in order]), strict=True):
            assert pytest.approx(alone[number].routing.scores, abs=1e-6, rel=0) == result.routing.scores
            assert pytest.approx(alone[number].sentiment.scores, abs=1e-6, rel=0) == result.sentiment.scores


@given(
    st.lists(st.floats(-20, 20), min_size=3, max_size=20), st.integers(2, 19), st.lists(st.floats(-20, 20), min_size=20)
)
def test_what_was_left_out_overtakes_nothing_and_all_sums_to_one(encoder_logits, keep, pair_logits):
    # Given any scores of the encoder and any of the pair model
    values = softmax(np.array(encoder_logits))
    chosen = np.sort(descending(values)[:keep])
    decided = softmax(np.array(pair_logits[: len(chosen)]))
    # when they are merged
    found = merged(values, chosen, decided, multi_label=False)
    # then they are shares, and the best is one of those the pair model saw
    left_out = np.delete(found, chosen)
    assert pytest.approx(1.0) == found.sum()
    assert all(found[chosen].max() >= left_out - 1e-12)
    assert np.delete(values, chosen).tolist() == left_out.tolist()


def test_it_is_a_folder_as_any_other(models):
    listed = {each.id: each for each in list_models([models.path])}
    manifest = check(models.path / "both" / "1")
    assert {"both/1", "pairs/1", "tiny/1"} == set(listed)
    assert ("", 0) == (listed["both/1"].problem, size_bytes(listed["both/1"].folder, manifest))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"cascade": {"encoder": "nowhere/1", "pair": "pairs/1"}}, "there is no model 'nowhere/1'"),
        ({"cascade": {"encoder": "pairs/1", "pair": "pairs/1"}, "tasks": ["routing"]}, "pairs/1 is no encoder"),
        ({"cascade": {"encoder": "tiny/1", "pair": "tiny/1"}, "tasks": ["routing"]}, "tiny/1 is no nli model"),
        ({"cascade": {"encoder": "tiny", "pair": "pairs/1"}}, r"cascade\.encoder"),
        ({"cascade": {"encoder": "tiny/1", "pair": "pairs/1", "keep_labels": 1}}, r"cascade\.keep_labels"),
        ({"cascade": None}, "a cascade, and nothing else, has the field cascade"),
        ({"kind": ["cascade", "encoder"], "embedding_width": 8}, "a cascade has no other kind"),
        ({"labels": ["positive", "negative"]}, "its sentiment is not that of its encoder tiny/1"),
    ],
)
def test_a_cascade_that_does_not_fit_is_refused(models, changes, reason, tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("models"))
    home.add()
    home.add_nli()
    with pytest.raises(ModelError, match=reason):
        Classifier.load(home.add_cascade(**changes), run_tokens=64)
