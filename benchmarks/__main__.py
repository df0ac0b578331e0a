"""`make bench`: every benchmark, one after the other, then the pages in docs/ from their results.

    python -m benchmarks [NAME ...]

About ten minutes on two cores; do nothing else on the machine meanwhile. `quantization` takes longer still and runs
only when it is named; it makes the tables of docs/quantization.md.
"""

from __future__ import annotations

import sys

from benchmarks import (
    backfill,
    dashboards,
    gateway,
    labels,
    pipeline,
    priority,
    producing,
    session,
    sink,
)
from benchmarks.pages import performance, reliability
from benchmarks.pages import quantization as quantization_page


def _quantization() -> None:
    from benchmarks import quantization  # needs onnx, which the others do not

    quantization.main([])
    quantization_page.main()


BENCHMARKS = {
    "session": lambda: session.main(["--texts", "500", "--rounds", "2"]),
    "labels": lambda: labels.main([]),
    "pipeline": lambda: pipeline.main([]),
    "producing": lambda: producing.main([]),
    "sink": lambda: sink.main([]),
    "gateway": lambda: gateway.main([]),
    "backfill": lambda: backfill.main([]),
    "priority": lambda: priority.main([]),
    "dashboards": lambda: dashboards.main([]),
}
ONLY_NAMED = {"quantization": _quantization}


def main(names: list[str]) -> None:
    """Run the named benchmarks, all but the long one by default."""
    known = BENCHMARKS | ONLY_NAMED
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"unknown benchmark {unknown[0]!r}; known: {', '.join(known)}")
    for name in names or BENCHMARKS:
        print(f"== {name}", flush=True)  # noqa: T201 - a command's output
        known[name]()
    performance.main()
    reliability.main()


if __name__ == "__main__":
    main(sys.argv[1:])
