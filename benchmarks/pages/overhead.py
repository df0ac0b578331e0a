"""The section on what Fenliu's own Python costs per item."""

from __future__ import annotations

from typing import Any, Final

from benchmarks.pages.writing import table

_COLUMNS: Final = ("collector", "codec", "pipeline", "sink", "settle", "of_target", "postgres", "redis", "wall")
_HEADS: Final = {"of_target": "first four", "postgres": "Postgres", "redis": "Redis", "wall": "wall"}


def overhead(result: dict[str, Any]) -> str:
    """By kind of item and size of batch, stage by stage."""
    rows = [[name, *(f"{case[column]:,.1f}" for column in _COLUMNS)] for name, case in result["us_per_item"].items()]
    return (
        "## What Fenliu's own Python costs\n\n"
        f"Microseconds of this process's processor per item, the model left out: reading and parsing (collector), "
        "decoding (codec), drafts,\nprepared questions and outcomes (pipeline), rows, parameters and the call (sink), "
        "replies and XACK with XDEL (settle). Every item is\nnew and every text distinct, so that the memory of texts "
        f"costs and never helps. Target: {result['target_us']:.0f} µs over the first four, for comments\nin full "
        "batches. Postgres' and Redis' processor and wall time stand apart.\n\n"
        + table(["case", *(_HEADS.get(column, column) for column in _COLUMNS)], rows)
    )
