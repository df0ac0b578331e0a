"""A whole model: both tasks at once, the same scores in any company, and clear refusals."""

import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from schemas.errors import InferenceError, ModelError
from schemas.labels import label_set
from schemas.names import Stage
from tests.models import head_weights, table, tiny_tokenizer
from worker.inference.classifier import Classifier, Job, Result

TEXTS = ["物流太慢了", "很好", "退款", "", "登录不了账号", "a</s>b", "物流" * 60, "abc def", "很好" * 9, "😀", "\u3000"]
TEAMS = label_set({"物流": "太慢", "账号": None, "退款": {"description": "", "examples": ["退款太慢"]}})


@pytest.fixture(scope="module")
def classifier(tiny_folder) -> Classifier:
    return Classifier.load(tiny_folder, run_tokens=64)


def flat(result: Result) -> dict[str, float]:
    return (result.sentiment.scores if result.sentiment else {}) | (result.routing.scores if result.routing else {})


def test_a_short_text_gets_what_the_model_says(classifier):
    # Given one text that fits the model, when it is classified
    result = classifier.classify([Job("物流太慢", sentiment=True, labels=None)])[0]
    # then its score is softmax(logits / temperature) over head + prefix + text + tail
    tokenizer = tiny_tokenizer()
    ids = [
        0,
        *tokenizer.encode("query: ", add_special_tokens=False).ids,
        *tokenizer.encode("物流太慢", add_special_tokens=False).ids,
        2,
    ]
    logits = table(tokenizer.get_vocab_size())[ids].mean(axis=0).astype(float) @ head_weights() / 0.5
    expected = np.exp(logits) / np.exp(logits).sum()
    assert result.sentiment
    assert result.routing is None
    assert result.sentiment.stage == Stage.CLASSIFIER
    assert pytest.approx(expected.tolist(), abs=1e-6) == [
        result.sentiment.scores["negative"],
        result.sentiment.scores["positive"],
    ]
    assert (result.tokens, result.windows) == (len(tokenizer.encode("物流太慢", add_special_tokens=False).ids), 1)


def test_both_tasks_come_from_one_forward_pass(classifier, monkeypatch):
    # Given a count of the sequences that reach ONNX Runtime
    labels = classifier.prepare(TEAMS)
    seen: list[int] = []
    engine = classifier._model.engine
    run = engine.run
    monkeypatch.setattr(engine, "run", lambda sequences: (seen.append(len(sequences)), run(sequences))[1])
    # when one text is asked for its sentiment and its team
    result = classifier.classify([Job("物流太慢", sentiment=True, labels=labels)])[0]
    # then it has both and ran once
    assert {"negative", "positive", "物流", "账号", "退款"} == set(flat(result))
    assert seen == [1]


def test_a_text_alone_and_in_any_batch_gets_the_same_scores(classifier):
    labels = classifier.prepare(TEAMS)
    jobs = [Job(text, sentiment=True, labels=labels) for text in TEXTS]
    alone = [flat(classifier.classify([job])[0]) for job in jobs]
    for seed in range(5):
        order = list(range(len(jobs))) * 3
        random.Random(seed).shuffle(order)
        for number, result in zip(order, classifier.classify([jobs[number] for number in order]), strict=True):
            assert pytest.approx(alone[number], abs=1e-6, rel=0) == flat(result)


def test_jobs_that_ask_for_different_things_do_not_mix(classifier):
    # Given texts with two label sets, multi-label and no labels at all in one call
    teams, topics = classifier.prepare(TEAMS), classifier.prepare(label_set(["a", "b"]), "about {}")
    jobs = [
        Job("退款", sentiment=False, labels=teams),
        Job("很好" * 30, sentiment=True, labels=None),
        Job("a", sentiment=True, labels=topics, multi_label=True),
        Job("a", sentiment=False, labels=topics),
        Job("退款", sentiment=False, labels=None),
    ]
    # when they are classified, then each has what it asked for, as if alone
    results = classifier.classify(jobs)
    for job, result in zip(jobs, results, strict=True):
        alone = classifier.classify([job])[0]
        assert pytest.approx(flat(alone), abs=1e-6, rel=0) == flat(result)
        assert (alone.tokens, alone.windows) == (result.tokens, result.windows)
    assert [(result.sentiment is not None, result.routing is not None) for result in results] == [
        (False, True),
        (True, False),
        (True, True),
        (False, True),
        (False, False),
    ]
    multi, single = results[2].routing, results[3].routing
    assert multi
    assert single
    assert pytest.approx(1.0) == sum(single.scores.values())
    assert pytest.approx(1.0) != sum(multi.scores.values())
    assert single.stage == Stage.ENCODER


def test_a_long_text_is_read_to_its_end(classifier):
    # Given a text whose only praise stands at its very end, far past the 16 tokens of the model
    long, longer = "物流太慢" * 40, "物流太慢" * 40 + "很好" * 8
    before, after = classifier.classify([Job(text, sentiment=True, labels=None) for text in (long, longer)])
    # when it is classified, then the end counts
    assert before.sentiment
    assert after.sentiment
    assert before.windows > 5
    assert before.sentiment.scores != after.sentiment.scores


def test_the_longest_text_that_is_allowed_works(classifier):
    result = classifier.classify([Job("很" * 20_000, sentiment=True, labels=classifier.prepare(TEAMS))])[0]
    assert result.tokens >= 20_000
    assert pytest.approx(1.0) == sum(result.routing.scores.values()) if result.routing else False


def test_a_text_that_unfolds_into_far_more_tokens_costs_no_more_than_its_length(classifier):
    # Given characters that NFKC turns into 18 each, when they are classified
    long, short = classifier.classify([Job("\ufdfa" * count, sentiment=True, labels=None) for count in (2_000, 1)])
    # then no more tokens are read than the text has characters, while a short text is read whole
    assert 2_000 == long.tokens
    assert short.tokens > 1


def test_nothing_to_do_is_fine(classifier):
    assert classifier.classify([]) == []


def test_threads_may_share_a_classifier(classifier):
    labels = classifier.prepare(TEAMS)
    jobs = [Job(text, sentiment=True, labels=labels) for text in TEXTS]
    expected = classifier.classify(jobs)
    with ThreadPoolExecutor(4) as pool:
        assert [expected] * 20 == list(pool.map(lambda _: classifier.classify(jobs), range(20)))


def test_long_label_descriptions_and_examples_are_read(classifier):
    short = classifier.prepare(label_set({"物流": "太慢" * 4}))
    long = classifier.prepare(label_set({"物流": {"description": "太慢" * 4, "examples": ["很好" * 9_000] * 10}}))
    assert short.prototypes.shape == long.prototypes.shape
    assert not np.allclose(short.prototypes, long.prototypes)


def test_labels_are_prepared_the_same_beside_any_other_label(classifier):
    alone = classifier.prepare(label_set(["物流"]))
    beside = classifier.prepare(label_set(["账号" * 20, "物流", "a"]))
    np.testing.assert_allclose(alone.prototypes[0], beside.prototypes[1], atol=1e-6)


def test_a_model_that_only_routes_refuses_sentiment(home):
    folder = home.add(kind=["encoder"], tasks=["routing"], labels=None)
    with pytest.raises(InferenceError, match="has no sentiment"):
        Classifier.load(folder, run_tokens=64).classify([Job("a", sentiment=True, labels=None)])


def test_a_model_that_only_knows_sentiment_refuses_labels(home):
    folder = home.add(kind=["classifier"], tasks=["sentiment"], embedding_width=None)
    with pytest.raises(ModelError, match="cannot score labels: its tasks are sentiment"):
        Classifier.load(folder, run_tokens=64).prepare(TEAMS)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"labels": ["a", "b", "c"]}, r"logits of one text has the shape \(1, 2\), not \(1, 3\)"),
        ({"embedding_width": 9}, r"embedding of one text has the shape \(1, 8\), not \(1, 9\)"),
        ({"max_tokens": 8, "prefixes": {"text": "query: query: query: "}}, "leaves no room"),
    ],
)
def test_a_model_that_is_not_what_its_manifest_says_is_refused(home, changes, reason):
    with pytest.raises(ModelError, match=reason):
        Classifier.load(home.add(**changes), run_tokens=64)


def test_a_model_without_neutral_texts_is_not_centred(home):
    folder = home.add()
    (folder / "neutral.npy").unlink()
    home.sign(folder)
    assert Classifier.load(folder, run_tokens=64).prepare(label_set(["a"])).means.tolist() == [0.0]
