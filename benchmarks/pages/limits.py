"""The section on what there is to reach: the session's, Postgres' and Redis' limits, and Fenliu's share of each."""

from __future__ import annotations

from typing import Any

from benchmarks.machine import read_result
from benchmarks.pages.writing import table


def limits(result: dict[str, Any]) -> str:
    """Each limit by itself; Fenliu's figure is that of the pipeline's result, if it is there."""
    session, pipeline = read_result("session"), read_result("pipeline")
    reached = pipeline["pipeline_texts_per_s"] if pipeline else None
    rows = []
    if session:
        best = session["best"]["tokenizing"]
        for name in ("included", "excluded"):
            per_s = best[f"{name}_texts_per_s"]
            share = _share(reached, per_s)
            if pipeline and name == "included":
                share = f"{pipeline['sorted']['share']:.3f} of it"
            rows.append([f"the session alone, tokenization {name}", f"{per_s:,.0f} texts", share])
    for case in result["postgres"]:
        connections = f"{case['connections']} connection" + "s" * (case["connections"] > 1)
        what = f"Postgres alone, new {case['kind']}s with rows ready, {connections}"
        per_s = case["items_per_s"]
        rows.append([what, f"{per_s:,.0f} items", _share(reached, per_s) if case["kind"] == "comment" else ""])
    stream = result["stream"]
    what = "an inbox alone, read, acknowledged and deleted by one connection"
    rows.append([what, f"{stream['entries_per_s']:,.0f} entries", _share(reached, stream["entries_per_s"])])
    fenliu = f" Fenliu's own figure, {reached:,.1f} texts/s, is that of the section above." if reached else ""
    return (
        "## Limits\n\n"
        f"What each part does with nothing else to do, in batches of {result['batch_entries']}.{fenliu} It was\n"
        "taken in other minutes than these, but for the share that is told slice by slice.\n\n"
        + table(["", "a second", "Fenliu's figure is"], rows)
    )


def _share(reached: float | None, limit: float) -> str:
    if reached is None:
        return ""
    share = reached / limit
    return f"{share:.2f} of it" if share >= 0.1 else f"{share:.3f} of it"
