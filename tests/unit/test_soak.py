"""The soak's judgement: what counts as growth, and what a ledger expects."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.pages import soak, writing
from benchmarks.soak.growth import Bound, slope, verdicts
from benchmarks.soak.ledger import Ledger

BOUND = Bound("memory_mib", "MiB", per_hour=32.0, noise=12.0)


def samples(values: list[float]) -> list[dict[str, float]]:
    return [{"at_s": 10.0 * number, "memory_mib": value} for number, value in enumerate(values)]


def test_the_slope_is_not_moved_by_bursts() -> None:
    # Given a line that rises by 2 every second, with some points far off it
    times_s = [float(second) for second in range(50)]
    values = [2.0 * second for second in times_s]
    values[7] = values[30] = 10_000.0
    assert 2.0 == pytest.approx(slope(times_s, values), rel=0.02)
    assert 0.0 == slope([1.0], [5.0])


def test_growth_fails_over_the_bound_and_the_noise_alone() -> None:
    # Given half an hour of three series: warm after ten minutes, a steady leak, a step within the noise
    warm = [min(100.0 + number, 160.0) for number in range(180)]
    leak = [100.0 + number for number in range(180)]
    little = [100.0 + number / 10 for number in range(180)]
    # Then only the leak is one: 360 MiB an hour
    found = [verdicts(samples(values), [BOUND])[0] for values in (warm, leak, little)]
    assert [True, False, True] == [one["ok"] for one in found]
    assert [0.0, 360.0, 36.0] == [round(one["grew_per_hour"], 1) for one in found]


def test_a_series_that_is_not_there_is_not_judged() -> None:
    assert [] == verdicts([{"at_s": 0.0}, {"at_s": 1.0}], [BOUND])


def test_a_ledger_expects_the_newest_text_of_what_stays() -> None:
    # Given a ledger of three items that stay and one that does not
    ledger = Ledger(seed=1)
    first = ledger.new("shop", 3)
    ledger.sent([*first, *ledger.new("erased", 1, kept=False)])
    # When some are sent again, as they were and changed
    again, changed = ledger.again(1), ledger.changed(1)
    # Then they are those that stay, and what changed has a text of its own and its kind still
    assert 3 == len(ledger)
    assert again[0] in first
    [before] = [item for item in first if item["id"] == changed[0]["id"]]
    assert before["text"] != changed[0]["text"]
    assert (before["source"], before["kind"]) == (changed[0]["source"], changed[0]["kind"])


def test_what_is_not_sent_yet_does_not_come_again() -> None:
    ledger = Ledger(seed=1)
    ledger.new("shop", 3)
    assert [] == ledger.again(2) == ledger.changed(2)


def test_its_page_says_what_grew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Given a result with a leak
    monkeypatch.setattr(writing, "PLOTS", tmp_path)
    looks = samples([100.0 + number for number in range(180)])
    result = {
        "partial": True, "checks": {"items lost": 2}, "uses": {"pages": 9}, "seconds": 1_800.0, "share": 0.4,
        "capacity_per_s": 700.0, "webhook_calls": {"taken": 5, "failed": 1}, "items": 12,
        "growth": verdicts(looks, [BOUND]), "samples": looks, "tables": [],
    }  # fmt: skip
    # Then its section names it, and what else is wrong
    section = soak.soak(result)
    assert "**grows**" in section
    assert "failed: {'items lost': 2}" in section
    assert "ended early" in section
    assert ["soak_handles.svg", "soak_memory.svg", "soak_waiting.svg"] == sorted(
        path.name for path in tmp_path.iterdir()
    )
