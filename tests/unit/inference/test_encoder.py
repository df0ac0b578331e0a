"""Labels by their prototypes: the nearest wins, centred, examples counted in."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from schemas.errors import ModelError
from schemas.labels import Label, LabelSet, label_set
from schemas.manifest import Manifest
from worker.inference.encoder import EXAMPLES_WEIGHT, EncoderLabels, EncoderScorer, read_neutral
from worker.inference.scores import Array, normalized

FILES = {"model.onnx": "0" * 64, "tokenizer.json": "0" * 64}


def manifest(**changes: object) -> Manifest:
    return Manifest.model_validate(
        {
            "name": "m", "version": "1", "kind": ["encoder"], "tasks": ["routing"], "max_tokens": 16,
            "embedding_width": 2, "files": FILES, "licence": "MIT", "source": {"description": "", "licence": "MIT"},
            "temperature": {"routing": 0.5, "multi_label": 0.25, "multi_label_bias": 0.1},
        } | changes
    )  # fmt: skip


@dataclass(frozen=True)
class Table:
    """An encoder that is a table of texts, prefix included."""

    vectors: dict[str, tuple[float, float]]
    manifest: Manifest

    def embed(self, texts: Sequence[str], prefix: str) -> Array:
        return normalized(np.array([self.vectors[prefix + text] for text in texts]))


def scorer_of(vectors: dict[str, tuple[float, float]], neutral: np.ndarray | None = None) -> EncoderScorer:
    return EncoderScorer(Table(vectors, manifest(prefixes={"text": "q:", "label": "p:"})), neutral)


def test_the_nearest_label_wins_and_scores_follow_the_temperature():
    # Given two labels at right angles and a temperature of 0.5
    scorer = scorer_of({"p:a": (1, 0), "p:b": (0, 1)})
    labels = scorer.prepare(label_set(["a", "b"]), None)
    # when a text lies on the first one, then it gets softmax([1, 0] / 0.5)
    found = scorer.window_probabilities(np.array([[1.0, 0.0]], dtype=np.float32), labels, multi_label=False)
    assert pytest.approx([1 / (1 + np.exp(-2.0)), 1 / (1 + np.exp(2.0))]) == found[0].tolist()


def test_a_label_that_is_near_to_everything_does_not_win_by_that():
    # Given a label near to the neutral texts, when a text is as near to it as neutral texts are anyway
    vectors = {"p:general": (1, 0), "p:special": (0, 1)}
    text = np.array([[0.8, 0.6]], dtype=np.float32)
    plain, centred = scorer_of(vectors), scorer_of(vectors, np.array([0.8, 0.1]))
    labels = label_set(["general", "special"])
    # then only centring lets the special label win
    assert [
        int(scorer.window_probabilities(text, scorer.prepare(labels, None), multi_label=False).argmax())
        for scorer in (plain, centred)
    ] == [0, 1]


def test_multi_label_scores_each_label_by_itself():
    scorer = scorer_of({"p:a": (1, 0), "p:b": (1, 0)})
    labels = scorer.prepare(label_set(["a", "b"]), None)
    found = scorer.window_probabilities(np.array([[1.0, 0.0]], dtype=np.float32), labels, multi_label=True)
    assert pytest.approx([1 / (1 + np.exp(-3.6))] * 2) == found[0].tolist()


def test_a_label_that_stands_alone_is_scored_as_in_multi_label():
    scorer = scorer_of({"p:a": (1, 0)})
    labels = scorer.prepare(label_set(["a"]), None)
    text = np.array([[0.0, 1.0]], dtype=np.float32)
    alone = scorer.window_probabilities(text, labels, multi_label=False)
    assert scorer.window_probabilities(text, labels, multi_label=True).tolist() == alone.tolist()
    assert alone[0, 0] < 0.5


def test_examples_pull_a_label_towards_them():
    # Given a label and examples, which are embedded as texts
    scorer = scorer_of({"p:a": (1, 0), "q:like this": (0, 1), "q:or this": (0, 2)})
    plain = scorer.prepare(label_set({"a": ""}), None)
    shown = scorer.prepare(label_set({"a": {"examples": ["like this", "or this"]}}), None)
    # when prototypes are made, then the examples' middle has its share in it
    assert plain.prototypes.tolist() == [[1.0, 0.0]]
    assert pytest.approx([1 - EXAMPLES_WEIGHT, EXAMPLES_WEIGHT]) == shown.prototypes[0].tolist()


def test_a_near_copy_of_an_example_goes_to_its_label_and_what_is_merely_alike_does_not():
    # Given a text that lies on one label, and is an example of the other
    vectors = {"p:a": (1, 0), "p:b": (0.8, -0.6), "q:ours": (1, 0), "q:another": (0.8, -0.6)}
    scorer = scorer_of(vectors)
    labels = scorer.prepare(label_set({"a": "", "b": {"examples": ["another", "ours"]}}), None)
    # when the very text comes, one that says nearly the same (cosine 0.995), and one of the same topic (0.94)
    degrees = np.radians([0, 6, 20])
    rows = np.stack([np.cos(degrees), np.sin(degrees)], axis=1).astype(np.float32)
    found = scorer.window_probabilities(rows, labels, multi_label=False)
    # then those that copy it go to the example's label, and the one that does not stays
    assert [1, 1, 0] == found.argmax(axis=1).tolist()


def test_prepared_labels_cannot_be_changed():
    labels = scorer_of({"p:a": (1, 0)}).prepare(label_set(["a"]), None)
    with pytest.raises(ValueError, match="read-only"):
        labels.prototypes[0, 0] = 5
    with pytest.raises(AttributeError):
        labels.means = None


def test_rows_do_not_depend_on_the_rows_beside_them():
    # Given 300 texts and 40 labels of a real width
    generator = np.random.default_rng(3)
    texts = generator.normal(size=(300, 384)).astype(np.float32)
    names = LabelSet(tuple(Label(str(number)) for number in range(40)))
    examples = normalized(generator.normal(size=(30, 384)))
    prototypes = normalized(generator.normal(size=(40, 384)))
    labels = EncoderLabels(names, prototypes, np.zeros(40), examples, exemplified=[3, 17], starts=[0, 20])
    texts[5] = examples[25]
    scorer = scorer_of({})
    # when they are scored together and alone, then the scores are equal far below 1e-6
    together = scorer.window_probabilities(texts, labels, multi_label=False)
    alone = [
        scorer.window_probabilities(texts[row : row + 1], labels, multi_label=False)[0] for row in range(len(texts))
    ]
    np.testing.assert_allclose(together, np.stack(alone), atol=1e-12)


def test_a_zero_vector_stays_one():
    assert normalized(np.zeros((1, 2))).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("rows", [np.zeros((2, 3)), np.zeros(2), np.zeros((0, 2)), np.array([[np.nan, 0.0]])])
def test_neutral_rows_of_another_shape_are_refused(tmp_path, rows):
    np.save(tmp_path / "neutral.npy", rows)
    with pytest.raises(ModelError, match=r"neutral\.npy"):
        read_neutral(tmp_path / "neutral.npy", 2)


def test_neutral_rows_that_would_run_code_are_refused(tmp_path):
    np.save(tmp_path / "neutral.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ModelError, match="Python objects"):
        read_neutral(tmp_path / "neutral.npy", 2)


def test_neutral_rows_become_their_mean(tmp_path):
    np.save(tmp_path / "neutral.npy", np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float16))
    assert read_neutral(tmp_path / "neutral.npy", 2).tolist() == [0.5, 0.5]
