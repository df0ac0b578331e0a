"""How recoveries are counted from what happened, and how they are shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.chaos.timeline import DOWN, EXIT, FAULT, UP, Event, Timeline, summary
from benchmarks.pages import chaos, writing


def timeline(events: list[Event], settled: list[tuple[float, int]]) -> Timeline:
    return Timeline(events=events, settled=settled)


def test_a_recovery_runs_from_the_return_to_the_next_settled_entry() -> None:
    found = timeline(
        [Event(1.0, DOWN, "redis", "SIGKILL"), Event(2.0, UP, "redis")], [(0.5, 3), (2.1, 3), (2.5, 4), (2.6, 9)]
    ).recoveries()
    assert {"redis": [0.5]} == found


def test_while_another_is_away_time_runs_from_the_return_of_the_last() -> None:
    # Given two that go at about the same time, and one that goes again before anything was settled
    events = [
        Event(1.0, DOWN, "redis"), Event(1.5, DOWN, "postgres"), Event(2.0, UP, "redis"), Event(4.0, UP, "postgres"),
        Event(4.2, DOWN, "redis"), Event(5.0, UP, "redis"),
    ]  # fmt: skip
    found = timeline(events, [(0.5, 3), (4.1, 3), (5.75, 4)]).recoveries()
    # Then all three are counted from when both were there for good
    assert {"redis": [0.75, 0.75], "postgres": [0.75]} == found


def test_nothing_settled_afterwards_is_no_recovery() -> None:
    assert {} == timeline([Event(1.0, DOWN, "redis"), Event(2.0, UP, "redis")], [(0.5, 3), (9.0, 3)]).recoveries()


def test_faults_are_what_was_done_and_workers_that_ended_by_themselves() -> None:
    there = timeline([Event(1.0, FAULT, "worker-0", "SIGKILL"), Event(2.0, EXIT, "worker-1"), Event(3.0, UP, "x")], [])
    assert ["SIGKILL", EXIT] == [fault["how"] for fault in there.faults()]
    # Two killed together are one disturbance
    assert [0, 1] == [there.faults_between(0.9, 5.0), there.faults_between(0.1, 5.0)]


def test_a_summary_is_of_real_values() -> None:
    assert {"count": 4, "median_s": 3.0, "p95_s": 9.0, "max_s": 9.0} == summary([9.0, 1.0, 3.0, 2.0])


def test_the_page_shows_what_failed_and_what_was_skipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(writing, "PLOTS", tmp_path)
    common = {"seed": 5, "seconds_in_all": 61.0}
    scenarios = {
        "kills": common
        | {"items": 1_000, "faults": [{}], "checks": {"items lost": 2}, "recoveries_s": {"redis": [0.5, 1.5]}},
        "clock": common | {"checks": {}, "skipped": "libfaketime is not installed"},
    }
    section = chaos.chaos({"scenarios": scenarios})
    assert "| 5 | 1,000 | 1 | 61 | **failed: {'items lost': 2}** |" in section
    assert "| skipped: libfaketime is not installed |" in section
    assert "| kills | redis | 2 | 1.50 | 1.50 | 1.50 |" in section
    assert (tmp_path / "chaos_recoveries.svg").exists()
