"""`make bench`: every benchmark, one after the other, then docs/performance.md from their results.

    python -m benchmarks [NAME ...]

About ten minutes on two cores; do nothing else on the machine meanwhile.
"""

from __future__ import annotations

import sys

from benchmarks import labels, pipeline, producing, report, session, sink

BENCHMARKS = {
    "session": lambda: session.main(["--texts", "500", "--rounds", "2"]),
    "labels": lambda: labels.main([]),
    "pipeline": lambda: pipeline.main([]),
    "producing": lambda: producing.main([]),
    "sink": lambda: sink.main([]),
}


def main(names: list[str]) -> None:
    """Run the named benchmarks, all of them by default."""
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        sys.exit(f"unknown benchmark {unknown[0]!r}; known: {', '.join(BENCHMARKS)}")
    for name in names or BENCHMARKS:
        print(f"== {name}", flush=True)  # noqa: T201 - a command's output
        BENCHMARKS[name]()
    report.main()


if __name__ == "__main__":
    main(sys.argv[1:])
