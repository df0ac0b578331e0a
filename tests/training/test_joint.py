"""The joint loss of the default recipe on a tiny network: every part of it is learned."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tests.training.tiny import tiny_network  # noqa: E402
from training.batches import outputs  # noqa: E402
from training.joint import NO_LABEL, Joint, LabelledSet, Texts, Weights  # noqa: E402
from training.loop import Loop, Schedule, groups  # noqa: E402

rng = np.random.default_rng(0)
ROWS = [[1, 5 + label, *rng.integers(20, 60, 6).tolist(), 2] for label in (0, 1) * 40]
LABELS = np.array((0, 1) * 40)
SET = LabelledSet(
    wordings=[[[1, 10, 2], [1, 11, 2], [1, 12, 2]]],
    rows=[[1, 7 + which, *rng.integers(20, 60, 4).tolist(), 2] for which in (0, 1, 2) * 16],
    labels=np.array((0, 1, 2) * 16),
)


def _joint(texts: Texts, sets: list[LabelledSet], weights: Weights) -> Joint:
    return Joint(tiny_network(), texts, sets, weights=weights, batch_texts=16, seed=3)


def _texts(**changes: object) -> Texts:
    targets, _ = outputs(tiny_network(), ROWS)
    values: dict[str, object] = {"rows": ROWS, "labels": LABELS, "targets": targets, "repeats": np.ones(len(ROWS))}
    return Texts(**{**values, **changes})  # type: ignore[arg-type]  # spelled above


def _train(joint: Joint, checkpoint: Path, epochs: int = 12) -> None:
    schedule = Schedule(epochs, rate=3e-3, head_rate=3e-3)
    Loop(
        joint.network,
        groups(joint.network, schedule),
        joint.batches,
        joint.loss,
        schedule=schedule,
        checkpoint=checkpoint,
        say=lambda _: None,
    ).run(lambda epoch: None)


def test_an_epoch_shows_each_text_as_often_as_it_says_and_every_routing_text_once() -> None:
    repeats = np.array([0.0] * 10 + [2.0] * 10 + [1.0] * 60)
    joint = _joint(_texts(repeats=repeats), [SET, SET], Weights())
    shown = [number for run in joint.batches(0) for number in run]
    assert repeats.tolist() == [shown.count(number) for number in range(80)]
    assert list(range(80, 80 + 96)) == sorted(number for number in shown if number >= 80)
    # and no run mixes label sets, nor routing with texts
    assert all(len({(number >= 80) + (number >= 128) for number in run}) == 1 for run in joint.batches(0))
    assert joint.batches(0) == joint.batches(0) != joint.batches(1)


def test_sentiment_and_routing_are_learned_together(tmp_path: Path) -> None:
    joint = _joint(_texts(), [SET], Weights(embedding=0.01, routing_temperature=0.2))
    _train(joint, tmp_path / "run.pt", 60)
    _, logits = outputs(joint.network, ROWS)
    assert 0.9 < (logits.argmax(1) == LABELS).mean()
    texts, _ = outputs(joint.network, SET.rows)
    labels, _ = outputs(joint.network, SET.wordings[0])
    assert 0.8 < ((texts @ labels.T).argmax(1) == SET.labels).mean()


def test_a_teachers_logits_are_copied_where_it_was_asked_and_labels_may_be_missing(tmp_path: Path) -> None:
    # Given no labels, and a teacher's logits for half the texts
    teacher = np.where(LABELS[:, None] == np.arange(2), 3.0, -3.0).astype(np.float32)
    teacher[40:] = np.nan
    texts = _texts(labels=np.full(len(ROWS), NO_LABEL), logits=teacher)
    joint = _joint(texts, [], Weights(hard=0.0, soft=1.0, embedding=0.01))
    # When the student learns
    _train(joint, tmp_path / "run.pt", 40)
    # Then it knows what the teacher knows, also of texts the teacher was not asked about
    _, logits = outputs(joint.network, ROWS)
    assert 0.9 < (logits.argmax(1) == LABELS).mean()


def test_the_embedding_is_held_where_it_should_be(tmp_path: Path) -> None:
    targets, _ = outputs(tiny_network(), ROWS)
    moved, held = (_joint(_texts(), [], Weights(embedding=weight)) for weight in (0.0, 5.0))
    for number, joint in enumerate((moved, held)):
        _train(joint, tmp_path / f"{number}.pt")
    distances = [float(((outputs(joint.network, ROWS)[0] - targets) ** 2).sum(1).mean()) for joint in (moved, held)]
    assert distances[1] < distances[0] / 2
