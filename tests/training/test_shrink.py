"""Smaller networks cut out of larger ones."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.training.tiny import tiny_network  # noqa: E402
from training import narrow  # noqa: E402
from training.batches import outputs  # noqa: E402
from training.narrow import Shape, empty  # noqa: E402
from training.network import HeadKind, Network  # noqa: E402
from training.shrink import even_layers, shrink  # noqa: E402


def _rows(count: int, seed: int = 3) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [[1, *rng.integers(4, 64, rng.integers(4, 14)).tolist(), 2] for _ in range(count)]


def _distance(start: narrow.Start, teacher: Network, rows: list[list[int]]) -> float:
    """Squared distance of embeddings to the teacher's in the student's basis; 1 is no better than the mean."""
    wanted = outputs(teacher, rows)[0] @ start.basis.numpy()
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    found = outputs(start.network, rows)[0]
    return float(((found - wanted) ** 2).sum(1).mean() / ((wanted - wanted.mean(0)) ** 2).sum(1).mean())


@pytest.mark.parametrize(
    ("layers", "kept", "expected"), [(12, 4, [0, 4, 7, 11]), (12, 1, [11]), (3, 3, [0, 1, 2]), (6, 2, [0, 5])]
)
def test_layers_are_kept_at_even_distances_the_last_one_always(layers: int, kept: int, expected: list[int]) -> None:
    assert expected == even_layers(layers, kept)


@pytest.mark.parametrize("kept", [0, 4])
def test_more_layers_than_there_are_cannot_be_kept(kept: int) -> None:
    with pytest.raises(ValueError, match=f"a network of 3 layers cannot keep {kept}"):
        even_layers(3, kept)


def test_a_network_of_which_everything_is_kept_computes_the_same() -> None:
    teacher, rows = tiny_network(), _rows(20)
    for expected, actual in zip(outputs(teacher, rows), outputs(shrink(teacher, 3, 64), rows), strict=True):
        np.testing.assert_array_equal(expected, actual)


def test_feed_forward_units_that_write_nothing_are_the_first_to_go() -> None:
    # Given a network of which every other feed-forward unit writes nothing
    teacher, rows = tiny_network(), _rows(20)
    for layer in teacher.trunk.encoder.layer:
        layer.output.dense.weight.data[:, ::2] = 0
    # When half of them are kept, then nothing changes
    for expected, actual in zip(outputs(teacher, rows), outputs(shrink(teacher, 3, 32), rows), strict=True):
        np.testing.assert_allclose(expected, actual, atol=0.02)


@pytest.mark.parametrize("kind", list(HeadKind))
def test_a_narrow_copy_is_nearer_to_its_teacher_than_a_random_network(kind: HeadKind) -> None:
    # Given a teacher, and students of three quarters of its width
    teacher, shape = tiny_network(kind), Shape(layers=3, hidden=24, heads=4, ffn=48)
    copied = narrow.narrow(teacher, shape, _rows(300))
    random = narrow.Start(empty(teacher, shape), copied.basis)
    # Then on other texts the copy's embeddings lie twice as near to the teacher's, and its labels are mostly the same
    rows = _rows(200, seed=4)
    assert 0.5 * _distance(random, teacher, rows) > _distance(copied, teacher, rows)
    labels, found = (outputs(net, rows)[1].argmax(1) for net in (teacher, copied.network))
    assert 0.7 < (labels == found).mean()
    assert shape == narrow.shape_of(copied.network)


def test_what_a_head_computes_is_cut_to_its_best_approximation() -> None:
    # Given two factors of rank 6
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(*size, generator=generator) for size in ((10, 6), (6, 12)))
    # Then their product survives in full width, and its leading part in less (Eckart and Young)
    product = left @ right
    a, b = narrow._factors(left, right, 6)
    torch.testing.assert_close(product, a @ b)
    a, b = narrow._factors(left, right, 2)
    expected = float(torch.linalg.svdvals(product)[2:].norm())
    assert expected == pytest.approx(float((product - a @ b).norm()), rel=1e-4)


def test_heads_wider_than_the_teachers_can_learn_in_all_their_width() -> None:
    # Given a student whose two heads are wider than its teacher's four, 12 to 8
    student = narrow.narrow(tiny_network(), Shape(layers=2, hidden=24, heads=2, ffn=48), _rows(100)).network.train()
    # When a loss is sent back through it
    ids = torch.tensor([row[:5] for row in _rows(8)])
    student(ids, torch.ones_like(ids)).logits.sum().backward()
    # Then no row of its queries, keys and values is left without a gradient, or without anything to multiply one
    for layer in student.trunk.encoder.layer:
        attention = layer.attention.self
        assert bool((attention.value.weight.abs().sum(1) > 0).all())
        assert bool((attention.query.weight.abs().sum(1) > 0).all())
        assert bool((attention.key.weight.grad.abs().sum(1) > 0).all())
