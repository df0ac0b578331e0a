"""The table at the top of docs/performance.md: what was aimed at, what was reached, from the results that are there.

A result may also bring rows of its own, under `targets`: a list of {what, target, reached, met}, all but `met` text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from benchmarks.machine import read_result
from benchmarks.pages.growth import worst_ratio
from benchmarks.pages.writing import table

PIPELINE_SHARE: Final = {"pipeline": 0.95, "pipeline_base": 0.98}

Row = tuple[str, str, str, bool]
"""What, target, reached, met."""


def targets() -> str:
    """The table; an empty string where there are no results at all."""
    rows = [row for name, rows_of in _ROWS.items() if (result := read_result(name)) for row in rows_of(result)]
    shown = [[what, target, reached, "met" if met else "**missed**"] for what, target, reached, met in rows]
    return "## Targets\n\n" + table(["what", "target", "reached", ""], shown) if rows else ""


def _pipeline(name: str, model: str) -> Callable[[dict[str, Any]], Iterator[Row]]:
    def rows(result: dict[str, Any]) -> Iterator[Row]:
        whole, least = result["sorted"], PIPELINE_SHARE[name]
        share = whole["share"]
        reached = (
            f"{share:.3f} ± {whole['standard_error']:.3f}; of the session in batches {result['batches']['share']:.3f}; "
            f"by processor time {whole['processor_share']:.3f}"
        )
        yield f"pipeline, of the session alone, {model}", f"at least {least}", reached, share >= least
        if "demo" in result:
            demo = result["demo"]
            padding, allowed = demo["padding_share"], demo["allowed_padding_share"]
            yield (
                f"padding, of the tokens run for the demo's {demo['texts']:,.0f} texts",
                f"at most {allowed:.0%}",
                f"{padding:.1%}",
                padding <= allowed,
            )

    return rows


def _latency(result: dict[str, Any]) -> Iterator[Row]:
    batches, half = result["p99_in_full_batches"], result["half_load"]
    yield (
        "live p99 at half load, in times of a full batch",
        f"at most {result['allowed_batches']:.0f}",
        f"{batches:.2f} ({half['p99_ms']:.0f} ms)",
        batches <= result["allowed_batches"],
    )


def _growth(result: dict[str, Any]) -> Iterator[Row]:
    allowed = result["allowed_ratio"]
    for part, what, size, unit in (
        ("pipeline", "processor time per item, from inbox to row,", "items", "items in the tables"),
        ("tables", "of which writing alone: processor time per item", "items", "items in the tables"),
        ("backlog", "processor time per item", "entries", "entries that wait"),
    ):
        rows = result.get(part, [])
        if not rows:  # the pipeline was not always measured
            continue
        sizes = [row[size] for row in rows]
        ratio = worst_ratio(rows)
        name = f"{what} at {max(sizes):,} {unit}, times that at {min(sizes):,}"
        yield name, f"at most {allowed}", f"{ratio:.3f}", ratio <= allowed


def _overhead(result: dict[str, Any]) -> Iterator[Row]:
    took_us = result["us_per_item"].get("comment, 256 at once", {}).get("of_target")
    if took_us is not None:
        name = "Python per new comment: collector, codec, pipeline, sink"
        yield name, f"at most {result['target_us']:.0f} µs", f"{took_us:.1f} µs", took_us <= result["target_us"]


def _gateway(result: dict[str, Any]) -> Iterator[Row]:
    idle, busy = result["idle"], result["busy"]
    more, allowed = idle["more_ms"], idle["allowed_more_ms"]
    yield "over HTTP, more than the model alone", f"at most {allowed:.0f} ms", f"{more:.1f} ms", more <= allowed
    share, least = busy["share_median"], busy["allowed_share"]
    yield f"{busy['callers']} callers over HTTP, of the pipeline", f"at least {least}", f"{share:.3f}", share >= least


def _producing(result: dict[str, Any]) -> Iterator[Row]:
    per_s, least = result["cases"]["mapping"]["per_s_median"], result["target_per_s"]
    yield "items that one process adds a second", f"at least {least:,}", f"{per_s:,}", per_s >= least


def _backfill(result: dict[str, Any]) -> Iterator[Row]:
    case, aims = result["cases"][-1], result["targets"]
    name = f"backfill of {case['rows']:,} rows"
    least, most = aims["rows_per_s"], aims["peak_mib"]
    yield f"{name}, rows/s", f"at least {least:,}", f"{case['rows_per_s']:,}", case["rows_per_s"] >= least
    yield f"{name}, memory", f"at most {most} MiB", f"{case['peak_mib']:.0f} MiB", case["peak_mib"] <= most


def _priority(result: dict[str, Any]) -> Iterator[Row]:
    more, allowed = result["p99_difference_ms"], result["p99_difference_allowed_ms"]
    yield "live p99 that a backfill adds", f"at most {allowed:.0f} ms", f"{more:.1f} ms", more <= allowed


def _own(result: dict[str, Any]) -> Iterator[Row]:
    for row in result.get("targets", []):
        yield row["what"], row["target"], row["reached"], bool(row["met"])


_ROWS: Final[dict[str, Callable[[dict[str, Any]], Iterator[Row]]]] = {
    "pipeline": _pipeline("pipeline", "the shipped model"),
    "pipeline_base": _pipeline("pipeline_base", "base size"),
    "peers": _own,
    "latency": _latency,
    "growth": _growth,
    "overhead": _overhead,
    "operators": _own,
    "gateway": _gateway,
    "producing": _producing,
    "backfill": _backfill,
    "priority": _priority,
}
