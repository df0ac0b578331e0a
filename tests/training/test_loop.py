"""A training run that can be killed, goes on, stops early and keeps its best."""

from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from training.loop import Loop, Outcome, Schedule, groups  # noqa: E402


class Line(torch.nn.Module):
    """y = w x + b, with dropout on x: a resumed run must draw the same numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(1, 1)
        self.dropout = torch.nn.Dropout(0.3)


def _run(
    checkpoint: Path,
    schedule: Schedule,
    after_epoch: Callable[[int], float | None],
    on_step: Callable[[int, int], None] | None = None,
) -> tuple[Line, Outcome]:
    torch.manual_seed(1)
    line = Line()
    xs = torch.linspace(-1, 1, 64)[:, None]

    def loss(run: list[int]) -> "torch.Tensor":
        return (line.head(line.dropout(xs[run])) - (3 * xs[run] + 1)).pow(2).mean()

    def batches(epoch: int) -> list[list[int]]:
        return [list(range(at, at + 8)) for at in range(0, 64, 8)]

    loop = Loop(
        line,
        groups(line, schedule),
        batches,
        loss,
        schedule=schedule,
        checkpoint=checkpoint,
        say=lambda _: None,
        on_step=on_step,
    )
    return line, loop.run(after_epoch)


def _nothing(epoch: int) -> None:
    return None


@pytest.mark.parametrize("decay", ["linear", "cosine"])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_run_that_was_killed_ends_with_the_weights_of_one_that_was_not(
    tmp_path: Path, decay: str, accumulate: int
) -> None:
    schedule = Schedule(3, head_rate=0.05, checkpoint_steps=2, decay=decay, accumulate=accumulate)  # type: ignore[arg-type]  # parametrized
    whole, expected = _run(tmp_path / "whole.pt", schedule, _nothing)

    # Given a run that dies at its fifth step, after the checkpoint of the fourth
    def die(step: int, steps: int) -> None:
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path / "cut.pt", schedule, _nothing, die)
    # When it is started again
    again, outcome = _run(tmp_path / "cut.pt", schedule, _nothing)
    # Then nothing tells the two apart
    assert torch.equal(whole.head.weight, again.head.weight)
    assert expected.losses[-1] == outcome.losses[-1]


def test_the_best_epoch_is_kept_and_patience_ends_the_run(tmp_path: Path) -> None:
    # Given metrics that fall after the second epoch, and a patience of two
    metrics = {1: 0.5, 2: 0.9, 3: 0.7, 4: 0.8, 5: 1.0}
    kept: dict[int, torch.Tensor] = {}
    holder: list[Line] = []

    def after(epoch: int) -> float:
        kept[epoch] = holder[0].head.weight.detach().clone()
        return metrics[epoch]

    torch.manual_seed(1)
    line = Line()
    holder.append(line)
    schedule = Schedule(5, head_rate=0.05, patience_epochs=2)
    loop = Loop(
        line,
        groups(line, schedule),
        lambda epoch: [[0]],
        lambda run: line.head.weight.sum().pow(2),
        schedule=schedule,
        checkpoint=tmp_path / "run.pt",
        say=lambda _: None,
    )
    # When it runs
    outcome = loop.run(after)
    # Then it ends after the fourth with the weights of the second
    assert ([0.5, 0.9, 0.7, 0.8], 2, True) == (outcome.metrics, outcome.best_epoch, outcome.stopped_early)
    assert torch.equal(kept[2], line.head.weight)


def test_a_checkpoint_of_another_run_is_left_alone_and_said_so(tmp_path: Path) -> None:
    _run(tmp_path / "run.pt", Schedule(1, head_rate=0.05), _nothing)
    fresh, _ = _run(tmp_path / "other.pt", Schedule(2, head_rate=0.05), _nothing)
    (tmp_path / "other.pt").write_bytes((tmp_path / "run.pt").read_bytes())
    again, _ = _run(tmp_path / "other.pt", Schedule(2, head_rate=0.05), _nothing)
    assert torch.equal(fresh.head.weight, again.head.weight)


@pytest.mark.parametrize("decay", ["linear", "cosine"])
def test_the_rate_rises_to_its_peak_and_falls_to_nothing(decay: str) -> None:
    schedule = Schedule(1, warmup_share=0.1, decay=decay)  # type: ignore[arg-type]  # parametrized
    factors = [schedule.factor(step, 100) for step in range(100)]
    assert 9 == factors.index(max(factors))
    assert 1.0 == pytest.approx(max(factors))
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[-1] < 0.02
