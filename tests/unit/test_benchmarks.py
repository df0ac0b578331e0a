"""What `make bench` says of its results: the table of targets, the sections, the texts it measures with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import benchmarks.machine
import benchmarks.pages.writing
from benchmarks.__main__ import BENCHMARKS, main
from benchmarks.machine import header, quartiles
from benchmarks.pages import growth, limits
from benchmarks.pages.targets import targets
from benchmarks.pipeline import dealt
from benchmarks.texts import distinct_texts


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder of results, and one of documents beside it."""
    monkeypatch.setattr(benchmarks.machine, "RESULTS", tmp_path)
    monkeypatch.setattr(benchmarks.pages.writing, "PLOTS", tmp_path / "plots")
    return tmp_path


def put(results: Path, name: str, result: Mapping[str, Any]) -> None:
    (results / f"{name}.json").write_text(json.dumps({"benchmark": name, **result}), encoding="utf-8")


def a_pipeline(share: float) -> dict[str, Any]:
    demo = {"texts": 1961.0, "padding_share": 0.061, "allowed_padding_share": 0.05}
    return {
        "sorted": {"share": share, "standard_error": 0.01, "processor_share": share + 0.01},
        "batches": {"share": share + 0.02, "standard_error": 0.01, "processor_share": share + 0.03},
        "pipeline_texts_per_s": 400.0,
        "demo": demo,
    }


def test_the_table_of_targets_tells_met_from_missed(results: Path) -> None:
    # Given a pipeline that reaches its share and pads too much, and a result with a row of its own
    put(results, "pipeline", a_pipeline(0.97))
    put(
        results, "peers", {"targets": [{"what": "of a peer", "target": "at least 1.9", "reached": "1.2", "met": False}]}
    )
    # When the table is made, then each line says what was aimed at, what was reached, and whether that is enough
    lines = targets().splitlines()
    assert (
        "| pipeline, of the session alone, the shipped model | at least 0.95 | "
        "0.970 ± 0.010; of the session in batches 0.990; by processor time 0.980 | met |"
    ) in lines
    assert "| padding, of the tokens run for the demo's 1,961 texts | at most 5% | 6.1% | **missed** |" in lines
    assert "| of a peer | at least 1.9 | 1.2 | **missed** |" in lines


def test_without_results_there_is_no_table(results: Path) -> None:
    assert "" == targets()


def a_growth() -> dict[str, Any]:
    """A result as it was before the whole pipeline was measured."""
    ratios = {"processor_ratio": 1.02, "wall_ratio": 1.1, "here_us": 40.0, "server_us": 60.0, "wall_us": 120.0}
    done = {"items_per_s": 400.0, "processor_us_per_item": 4e3, "redelivered": 0, "rows": 90, "items_with_a_row": 90}
    return {
        "allowed_ratio": 1.1,
        "tables": [{"case": "new", "items": items, "wal_bytes": 900.0} | ratios for items in (10, 1000)],
        "backlog": [{"entries": entries} | ratios for entries in (10, 1000)],
        "workers": [{"processes": 2, "texts": 90, "items_of_each": [40, 50]} | done],
        "lengths": [{"characters": 16, "texts": 2, "tokens": 20, "us_per_token": 70.0, "us_per_character": 50.0}],
    }


def a_growing_pipeline(ratio: float) -> list[dict[str, Any]]:
    took_us = {
        "worker_us": 3_400.0,
        "postgres_us": 210.0,
        "redis_us": 20.0,
        "processor_us": 3_630.0,
        "wall_us": 1_800.0,
    }
    same = took_us | {"texts": 512, "slices": 20, "wal_bytes": 4_000.0, "wall_ratio": 1.0}
    return [{"items": items, "processor_ratio": own} | same for items, own in ((10, 1.0), (1_000, ratio))]


def test_growth_has_a_plot_of_everything_that_grows(results: Path) -> None:
    # Given a result, when its section is made
    section = growth.growth(a_growth() | {"pipeline": a_growing_pipeline(1.02)})
    # Then every plot that it shows is there
    shown = [part.partition(")")[0] for part in section.split("](plots/")[1:]]
    parts = ("pipeline", "tables", "backlog", "workers", "lengths")
    assert [f"growth-{part}.svg" for part in parts] == shown
    assert sorted(shown) == sorted(path.name for path in (results / "plots").iterdir())
    assert "| 2 | 40, 50 | 400 | 4,000 | 0 | 90 of 90 |" in section
    assert "| 1,000 | 3,400 + 210 + 20 | 3,630 | 1,800 | 4,000 | 1.020 | 1.000 |" in section


def test_growth_without_the_pipeline_is_told_as_far_as_it_goes(results: Path) -> None:
    put(results, "growth", a_growth())
    assert "whole pipeline" not in growth.growth(a_growth())
    assert "from inbox to row" not in targets()


def test_the_pipeline_as_tables_grow_is_a_target_beside_writing_alone(results: Path) -> None:
    # Given a pipeline that costs too much in a large table, when the table is made
    put(results, "growth", a_growth() | {"pipeline": a_growing_pipeline(1.125)})
    # Then it misses its target, and writing and waiting have lines of their own
    lines = targets().splitlines()[-3:]
    assert [
        "| processor time per item, from inbox to row, at 1,000 items in the tables, times that at 10 | at most 1.1 "
        "| 1.125 | **missed** |",
        "| of which writing alone: processor time per item at 1,000 items in the tables, times that at 10 "
        "| at most 1.1 | 1.020 | met |",
        "| processor time per item at 1,000 entries that wait, times that at 10 | at most 1.1 | 1.020 | met |",
    ] == lines


def test_limits_tell_what_the_pipeline_is_of_them(results: Path) -> None:
    # Given what the pipeline reached, and limits
    put(results, "pipeline", a_pipeline(0.97))
    case = {"kind": "comment", "connections": 1, "items_per_s": 16_000.0}
    # When the section is made, then each limit has Fenliu's share of it
    section = limits.limits({"batch_entries": 256, "postgres": [case], "stream": {"entries_per_s": 100_000.0}})
    assert "| Postgres alone, new comments with rows ready, 1 connection | 16,000 items | 0.025 of it |" in section
    assert "| 100,000 entries | 0.004 of it |" in section


def test_an_unknown_benchmark_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SystemExit, match=f"unknown benchmark 'speed'; known: {', '.join(BENCHMARKS)}"):
        main(["speed"])


def test_texts_to_measure_with_are_as_many_as_asked_for_and_distinct() -> None:
    texts = distinct_texts(30_000)
    assert 30_000 == len(texts) == len(set(texts))
    assert texts[:5_000] == distinct_texts(5_000)


def test_batches_that_are_measured_are_alike() -> None:
    # Given texts, when they are dealt to batches, then none is lost and no batch is longer than another
    texts = distinct_texts(1_024)
    found = dealt(texts, 256)
    assert sorted(texts) == sorted(found)
    sizes = [sum(map(len, found[start : start + 256])) for start in range(0, 1_024, 256)]
    assert max(sizes) < 1.1 * min(sizes)


def test_quartiles_of_one_value_are_that_value() -> None:
    assert {"low": 2.0, "median": 2.0, "high": 2.0} == quartiles([2.0])
    assert {"low": 1.5, "median": 2.0, "high": 2.5} == quartiles([1.0, 2.0, 3.0])


def test_a_result_says_what_it_was_measured_with() -> None:
    found = header()
    assert {"measured_at", "commit", "processor", "cpus", "memory_gib", "system", "python", "packages"} <= found.keys()
