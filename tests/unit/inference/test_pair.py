"""Pairs of text and label: exactly ModelScope's arithmetic, in any company, however long the text."""

import json
import random
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InferenceError, LabelsError, ModelError
from schemas.labels import Label, LabelSet, label_set
from schemas.names import Stage
from tests.models import Home, head_weights, table, tiny_graph, tiny_tokenizer
from worker.inference import pair
from worker.inference.classifier import Classifier, Job
from worker.inference.folder import check
from worker.inference.model import Model
from worker.inference.pair import PairScorer
from worker.inference.scores import Scores, ranked
from worker.inference.windows import kept, spans

REFERENCE = json.loads((Path(__file__).parent / "data" / "zero_shot.json").read_text(encoding="utf-8"))
TEXTS = ["物流太慢了", "很好", "退款", "", "登录不了账号", "a</s>b", "物流" * 60, "abc def", "很好" * 9, "😀", "\u3000"]
TEAMS = label_set({"物流": "太慢", "账号": None, "退款": {"description": "", "examples": ["退款太慢"]}})
MAX_TOKENS = 24
SPECIALS = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Home(tmp_path_factory.mktemp("models")).add_nli()


@pytest.fixture(scope="module")
def classifier(folder) -> Classifier:
    return Classifier.load(folder, run_tokens=64)


@pytest.fixture(scope="module")
def scorer(folder) -> PairScorer:
    return PairScorer(Model.load(folder, check(folder), run_tokens=64, threads=1))


def ids_of(text: str) -> list[int]:
    return tiny_tokenizer().encode(text, add_special_tokens=False).ids


def logits_of(text: list[int], hypothesis: list[int]) -> np.ndarray:
    """What the tiny graph gives for one pair: a token of type 1 has the row after its own."""
    first, second = np.array([0, *text, 2]), np.array([*hypothesis, 2])
    rows = table(tiny_tokenizer().get_vocab_size() + 1)[np.concatenate((first, second + 1))]
    return rows.mean(axis=0).astype(float) @ head_weights(3)


def scored(logits: np.ndarray, *, multi_label: bool) -> np.ndarray:
    """ModelScope's arithmetic on the logits [labels, 3] of one text."""
    if multi_label or len(logits) == 1:
        logits = logits[:, [2, 0]]
        return (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))[:, 1]
    entailment = np.exp(logits[:, 0])
    return entailment / entailment.sum()


def routed(classifier: Classifier, text: str, labels: LabelSet, *, multi_label: bool = False, **more: str) -> Scores:
    job = Job(text, sentiment=False, labels=classifier.prepare(labels, **more), multi_label=multi_label)
    found = classifier.classify([job])[0].routing
    assert found
    return found


@pytest.mark.parametrize("multi_label", [False, True])
def test_a_short_text_gets_what_the_model_says_of_each_pair(classifier, multi_label):
    # Given a text and labels that fit, one of them with a description
    found = routed(classifier, "物流太慢", TEAMS, multi_label=multi_label)
    # when they are scored, then it is as if each pair had been run by itself and added up by hand
    hypotheses = ["物流：太慢", "账号", "退款"]
    logits = np.stack([logits_of(ids_of("物流太慢"), ids_of(text)) for text in hypotheses])
    assert pytest.approx(dict(zip(TEAMS.names, scored(logits, multi_label=multi_label), strict=True))) == found.scores
    assert Stage.PAIR == found.stage


def test_one_label_is_scored_by_itself(classifier):
    expected = scored(logits_of(ids_of("退款"), ids_of("物流"))[None], multi_label=True)[0]
    assert pytest.approx(expected) == routed(classifier, "退款", label_set(["物流"])).score


def test_a_callers_template_goes_around_label_and_description(classifier):
    found = routed(classifier, "退款", label_set({"物流": "太慢", "a": None}), template="b{}d")
    logits = np.stack([logits_of(ids_of("退款"), ids_of(text)) for text in ("b物流：太慢d", "bad")])
    assert pytest.approx(scored(logits, multi_label=False).tolist()) == [found.scores["物流"], found.scores["a"]]


def test_the_models_template_is_for_bare_labels(home):
    model = Classifier.load(home.add_nli(template="b{}d", description_template="{label}/{description}"), run_tokens=64)
    found = routed(model, "退款", label_set({"物流": "太慢", "a": None}))
    logits = np.stack([logits_of(ids_of("退款"), ids_of(text)) for text in ("物流/太慢", "bad")])
    assert pytest.approx(scored(logits, multi_label=False).tolist()) == [found.scores["物流"], found.scores["a"]]


def test_what_a_user_types_is_no_end_of_the_first_text(classifier):
    # Given a text that spells the token between text and label, when it is scored
    found = routed(classifier, "a</s>b", label_set(["物流", "退款"]))
    # then its characters were read, none of which is that token
    read = classifier._model.encode(["a</s>b"])[0].tolist()
    assert not {0, 1, 2} & set(read)
    assert len(read) > len(ids_of("ab"))
    logits = np.stack([logits_of(read, ids_of(label)) for label in ("物流", "退款")])
    assert pytest.approx(scored(logits, multi_label=False).tolist()) == [found.scores["物流"], found.scores["退款"]]


def test_what_stands_in_a_label_is_no_end_of_the_pair(classifier):
    labels = classifier.prepare(label_set(["</s>", "a</s>"]))
    assert not {0, 1, 2} & {number for ids in labels.hypotheses for number in ids.tolist()}


def test_of_equal_labels_the_one_given_last_stands_first(classifier):
    # Given two labels that are the same to the tokenizer, when they are scored, then the order is ModelScope's
    found = routed(classifier, "退款", label_set(["a", "ａ"]))
    assert ["ａ", "a"] == list(found.scores)
    assert [0.5, 0.5] == list(found.scores.values())


@pytest.mark.parametrize("case", REFERENCE, ids=[case["note"] for case in REFERENCE])
def test_modelscopes_own_logits_give_modelscopes_own_scores(scorer, case):
    # Given logits that ModelScope's pipeline got, and what it made of them
    logits = np.array(case["logits"], dtype=np.float32)[None, :, [0, 2]]
    values = scorer._calibrated(logits, multi_label=case["multi_label"])[0]
    # when the same are scored here, then labels and their order are the same, and scores to 1e-6
    found = ranked([str(number) for number in range(len(values))], values, Stage.PAIR)
    assert case["labels"] == [case["candidate_labels"][int(name)] for name in found.scores]
    assert pytest.approx(case["scores"], abs=1e-6) == list(found.scores.values())


@given(st.integers(0, 90), st.integers(0, 90), st.integers(1, 60))
def test_the_longer_text_of_a_pair_loses_first(first, second, room):
    # Given a pair that is cut token by token, of equal ones the second
    left, right = first, second
    while left + right > room:
        if left > right:
            left -= 1
        else:
            right -= 1
    # then the closed form says the same
    assert (left, right) == kept(first, second, room)


def test_a_long_text_is_read_in_windows_with_every_whole_label_in_each(classifier):
    # Given a text far over the model's 24 tokens
    text = ids_of("物流太慢" * 30 + "很好")
    found = routed(classifier, "物流太慢" * 30 + "很好", TEAMS)
    # when it is scored, then its windows have room for the longest label, and count by their tokens
    hypotheses = [ids_of(each) for each in ("物流：太慢", "账号", "退款")]
    windows = [text[start:end] for start, end in spans(len(text), MAX_TOKENS - SPECIALS - max(map(len, hypotheses)))]
    assert len(windows) > 3
    rows = [scored(np.stack([logits_of(part, each) for each in hypotheses]), multi_label=False) for part in windows]
    expected = np.average(rows, axis=0, weights=[len(part) for part in windows])
    assert pytest.approx(dict(zip(TEAMS.names, expected, strict=True)), abs=1e-6) == found.scores


def test_a_model_that_truncates_reads_what_modelscope_reads(home):
    # Given a model that cuts off, and a text and a label which are both too long
    model = Classifier.load(home.add_nli(long_text="truncate"), run_tokens=64)
    text, label = "物流" * 30, "退款" * 20
    found = routed(model, text, label_set([label, "a"]))
    # when they are scored, then each pair has lost the ends of its longer side
    logits = []
    for hypothesis in (ids_of(label), ids_of("a")):
        left, right = kept(len(ids_of(text)), len(hypothesis), MAX_TOKENS - SPECIALS)
        logits.append(logits_of(ids_of(text)[:left], hypothesis[:right]))
    expected = scored(np.stack(logits), multi_label=False).tolist()
    assert pytest.approx(expected) == [found.scores[label], found.scores["a"]]


def test_a_text_alone_and_in_any_batch_gets_the_same_scores(classifier):
    # Given short and long texts, two label sets, and both ways to ask
    sets = [(classifier.prepare(TEAMS), False), (classifier.prepare(TEAMS), True)]
    sets += [(classifier.prepare(label_set(["a", "物流" * 4])), False)]
    jobs = [Job(text, False, labels, multi_label) for text in TEXTS for labels, multi_label in sets]
    alone = [classifier.classify([job])[0].routing.scores for job in jobs]
    for seed in range(3):
        order = list(range(len(jobs))) * 2
        random.Random(seed).shuffle(order)
        # when they are scored together in any order, then each has the scores it had alone
        for number, result in zip(order, classifier.classify([jobs[number] for number in order]), strict=True):
            assert pytest.approx(alone[number], abs=1e-6, rel=0) == result.routing.scores


def test_pairs_of_all_texts_share_runs(classifier, monkeypatch):
    # Given the calls that reach the engine
    engine = classifier._model.engine
    seen: list[list[int]] = []
    run = engine.run

    def noted(sequences, first_tokens):
        seen.append([len(sequence) for sequence in sequences])
        return run(sequences, first_tokens)

    monkeypatch.setattr(engine, "run", noted)
    labels = classifier.prepare(TEAMS)
    # when four texts are scored against three labels, one text in several windows, then that is one call
    found = classifier.classify([Job(text, False, labels) for text in [*TEXTS[:3], "物流" * 30]])
    (lengths,) = seen
    assert found[3].windows > 1
    assert 3 * (3 + found[3].windows) == len(lengths)
    assert max(lengths) <= MAX_TOKENS


@given(
    lengths=st.lists(st.integers(0, 60), min_size=1, max_size=12),
    labels=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    slice_tokens=st.sampled_from([1, 30, 200, 10_000]),
    seed=st.integers(0, 9),
)
def test_every_pair_runs_once_in_slices_within_bounds(scorer, lengths, labels, slice_tokens, seed):
    # Given texts of any length, labels of any length, and for each text some of the labels
    generator = np.random.default_rng(seed)
    hypotheses = tuple(generator.integers(4, 30, length).astype(np.int32) for length in labels)
    chosen = [np.sort(generator.permutation(len(labels))[: generator.integers(1, len(labels) + 1)]) for _ in lengths]
    names = LabelSet(tuple(Label(str(number)) for number in range(len(labels))))
    prepared = pair.PairLabels(names, hypotheses, MAX_TOKENS - SPECIALS - max(labels))
    texts = [generator.integers(4, 30, length).astype(np.int32) for length in lengths]
    windows, row = [], 0
    for ids, own in zip(texts, chosen, strict=True):
        for start, end in spans(len(ids), prepared.room_tokens):
            windows.append(pair._Window(ids[start:end], own, row))
            row += len(own)
    # when they are put into slices
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pair, "SLICE_TOKENS", slice_tokens)
        slices = list(scorer._slices(windows, prepared))
    # then each pair is there once, whole, with its label's tokens of type 1, and no slice is larger than it may be
    assert list(range(row)) == sorted(number for rows, _, _ in slices for number in rows)
    assert all(len(rows) == 1 or sum(map(len, parts)) <= slice_tokens for rows, parts, _ in slices)
    expected = {
        window.row + number: ([0, *window.ids, 2], [*hypotheses[label], 2])
        for window in windows
        for number, label in enumerate(window.chosen)
    }
    for rows, parts, first_tokens in slices:
        for number, ids, first in zip(rows, parts, first_tokens, strict=True):
            assert expected[number] == (ids[:first].tolist(), ids[first:].tolist())
    # and of two slices the first could not have taken the next pair as well
    for (_, before, _), (_, after, _) in pairwise(slices):
        assert sum(map(len, before)) + len(after[0]) > slice_tokens


def test_scores_do_not_depend_on_the_slices(classifier, monkeypatch):
    labels = classifier.prepare(TEAMS)
    jobs = [Job(text, False, labels) for text in TEXTS]
    expected = [result.routing.scores for result in classifier.classify(jobs)]
    progress: list[None] = []
    monkeypatch.setattr(pair, "SLICE_TOKENS", 100)
    found = classifier.classify(jobs, lambda: progress.append(None))
    assert len(progress) > 5
    for before, after in zip(expected, found, strict=True):
        assert pytest.approx(before, abs=1e-6, rel=0) == after.routing.scores


def test_a_hypothesis_that_leaves_the_text_no_room_is_refused_by_name(classifier):
    # Given 24 tokens, of which 3 are special and 6 are kept for the text
    most = MAX_TOKENS - SPECIALS - MAX_TOKENS // 4
    fits, too_long = "abcd" * 3 + "ab", "abcd" * 3 + "abc"
    assert (most, most + 1) == (len(ids_of(fits)), len(ids_of(too_long)))
    # when a label is at that limit, then it is read; one token more, and it is named
    classifier.prepare(label_set([fits]))
    with pytest.raises(LabelsError, match=rf"label 'abcd.*' .* has {most + 1} tokens; pairs/1 reads at most {most}"):
        classifier.prepare(label_set(["物流", too_long]))


def test_a_model_for_pairs_has_no_sentiment(classifier):
    with pytest.raises(InferenceError, match="pairs/1 has no sentiment: it is nli"):
        classifier.classify([Job("a", sentiment=True, labels=None)])


def test_a_tokenizer_without_a_form_for_pairs_is_refused(home):
    folder = home.add_nli()
    content = json.loads((folder / "tokenizer.json").read_text())
    both = [{"Sequence": {"id": name, "type_id": number}} for number, name in enumerate("AB")]
    content["post_processor"]["pair"] = both
    (folder / "tokenizer.json").write_text(json.dumps(content))
    home.sign(folder)
    with pytest.raises(ModelError, match="pairs/1: its tokenizer puts nothing between"):
        Classifier.load(folder, run_tokens=64)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"labels": None, "contradiction_index": 3}, "pairs/1: has 3 logits, so none with the index 3"),
        ({"labels": ["entailment", "contradiction"]}, r"logits of one text has the shape \(1, 3\), not \(1, 2\)"),
        ({"kind": ["nli", "classifier"]}, "a classifier's or nli's, not both"),
        ({"contradiction_index": None}, "needs entailment_index and contradiction_index"),
    ],
)
def test_a_model_that_is_not_what_its_manifest_says_is_refused(home, changes, reason):
    with pytest.raises(ModelError, match=reason):
        Classifier.load(home.add_nli(**changes), run_tokens=64)


def test_a_graph_without_token_types_works_as_well(home):
    # Given a model of a family that knows no token types
    folder = home.add_nli()
    onnx.save(tiny_graph(tiny_tokenizer().get_vocab_size(), labels=3), folder / "model.onnx")
    home.sign(folder)
    # when a pair is scored, then it is by the tokens alone
    rows = table(tiny_tokenizer().get_vocab_size())[[0, *ids_of("退款"), 2, *ids_of("物流"), 2]]
    expected = scored((rows.mean(axis=0).astype(float) @ head_weights(3))[None], multi_label=True)[0]
    found = routed(Classifier.load(folder, run_tokens=64), "退款", label_set(["物流"]))
    assert pytest.approx(expected) == found.score
