"""docs/performance.md from the results that the benchmarks wrote. Nothing in it is written by hand."""

from __future__ import annotations

from typing import Final

from benchmarks.pages import answers, throughput
from benchmarks.pages.writing import Section, write_page

SECTIONS: Final[dict[str, Section]] = {
    "pipeline": throughput.pipeline,
    "session": throughput.session,
    "labels": throughput.labels,
    "producing": throughput.producing,
    "sink": throughput.sink,
    "gateway": answers.gateway,
    "backfill": throughput.backfill,
    "priority": answers.priority,
    "dashboards": answers.dashboards,
}
_INTRODUCTION = (
    "Made by `make bench` from the files in `benchmarks/results/`, which it writes as well. Machines differ and are\n"
    "noisy: read ratios taken in one run, not single figures."
)


def main() -> None:
    """Write the page from what results there are."""
    write_page("performance.md", "Performance", _INTRODUCTION, SECTIONS)


if __name__ == "__main__":
    main()
