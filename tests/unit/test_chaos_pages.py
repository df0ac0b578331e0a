"""The sections on poison and overload, from results as their scenarios give them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.pages import overload, writing


def test_poison_says_how_long_neighbours_waited() -> None:
    # Given one case in which a culprit ended the worker six times, and nobody came meanwhile
    case = {
        "name": "crashes", "neighbours": 600, "arrived_meanwhile": 0, "culprits": 1, "worker_ended": 6,
        "last_neighbour_s": 41.26, "last_dead_letter_s": 44.0, "meanwhile_median_s": None, "meanwhile_longest_s": None,
    }  # fmt: skip
    section = overload.poison({"settings": {"claim_idle_s": 4.0}, "memory_limit_mib": 1024, "cases": [case]})
    assert "| crashes | 600 + 0 | 1 | 6 | 41.3 | 44.0 | ,  |" in section
    assert "`claim_idle_s` 4" in section


def test_overload_shows_every_phase_and_what_producers_were_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Given a phase in which every live question was refused
    monkeypatch.setattr(writing, "PLOTS", tmp_path)
    phase = {
        "phase": "both flooded", "answered": 0, "refused": 31, "most_live": 2_000, "most_bulk": 2_001,
        "most_worker_mib": 240.0, "most_serve_mib": 97.0,
    }  # fmt: skip
    look = {"at_s": 1.0, "bulk": 3, "live": 4, "worker_mib": 1.0, "serve_mib": 2.0, "redis_mib": 3.0, "live_ms": None}
    section = overload.overload(
        {
            "offered_per_s": 7_000.0, "capacity_per_s": 700.0, "live_per_s": 140.0, "inbox_bound": 2_000,
            "worked_off_s": 61.2, "phases": [phase], "samples": [look, look | {"at_s": 2.0, "live_ms": 9.0}],
            "floods": {"bulk": {"taken": 5_000, "refused": 90_000}}, "http": {"429, Retry-After": 12},
        }
    )  # fmt: skip
    assert "| both flooded | 0 | 31 |  |  | 2,000 | 2,001 | 240 | 97 |" in section
    assert "bulk: 5,000 items taken in, 90,000 times refused" in section
    assert "429, Retry-After 12 times" in section
    assert {"overload_backlog.svg", "overload_memory.svg", "overload_live.svg"} == {p.name for p in tmp_path.iterdir()}
