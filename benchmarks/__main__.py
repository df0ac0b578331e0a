"""`make bench`: every benchmark, one after the other, then the pages in docs/ from their results.

    python -m benchmarks [NAME ...]

Under fifteen minutes on two cores; do nothing else on the machine meanwhile. What each took is printed at the end.
Some run only when they are named: `dashboards`, which fills a database for minutes, and `quantization`, `engine_steps`
and `engine_loading`, which make the tables of docs/quantization.md.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Sequence
from typing import Final

from benchmarks.pages import performance, reliability
from benchmarks.pages import quantization as quantization_page

BENCHMARKS: Final[dict[str, Sequence[str]]] = {
    "session": ["session"],
    "operators": ["operators"],
    "limits": ["limits"],
    "pipeline": ["pipeline"],
    "pipeline_base": ["pipeline", "--shape", "base", "--texts", "320"],
    "peers": ["peers.command"],
    "labels": ["labels"],
    "producing": ["producing"],
    "sink": ["sink"],
    "overhead": ["overhead"],
    "latency": ["latency"],
    "gateway": ["gateway"],
    "backfill": ["backfill"],
    "priority": ["priority"],
    "growth": ["growth"],
}
"""By name, the module and its arguments, in the order in which they run: the session's best setting is what the
pipeline is held to."""
NAMED_ALONE: Final[dict[str, Sequence[str]]] = {
    "dashboards": ["dashboards"],
    "quantization": ["quantization"],
    "engine_steps": ["engine_steps"],
    "engine_loading": ["engine_loading"],
}
"""Too long to run with the others."""


def main(names: Sequence[str]) -> None:
    """Run the named benchmarks, by default those that run together."""
    known = {**BENCHMARKS, **NAMED_ALONE}
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"unknown benchmark {unknown[0]!r}; known: {', '.join(known)}")
    took_s: dict[str, float] = {}
    for name in names or BENCHMARKS:
        print(f"== {name}", flush=True)  # noqa: T201 - a command's output
        started_s = time.perf_counter()
        module, *arguments = known[name]
        importlib.import_module(f"benchmarks.{module}").main(arguments)
        took_s[name] = time.perf_counter() - started_s
        print(f"== {name}: {took_s[name]:.1f} s", flush=True)  # noqa: T201
    if not took_s.keys().isdisjoint(["quantization", "engine_steps", "engine_loading"]):
        quantization_page.main()
    performance.main()
    reliability.main()
    for name, seconds in took_s.items():
        print(f"{name:15} {seconds:7.1f} s")  # noqa: T201
    print(f"{'all':15} {sum(took_s.values()):7.1f} s")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
