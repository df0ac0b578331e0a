"""docs/performance.md from the results that the benchmarks wrote. Nothing in it is written by hand."""

from __future__ import annotations

from typing import Final

from benchmarks.pages import answers, engine, growth, limits, peers, throughput
from benchmarks.pages.targets import targets
from benchmarks.pages.writing import Section, write_page

SECTIONS: Final[dict[str, Section]] = {
    "pipeline": throughput.pipeline,
    "pipeline_base": throughput.pipeline_base,
    "peers": peers.peers,
    "peers_base": peers.peers_base,
    "limits": limits.limits,
    "session": throughput.session,
    "labels": throughput.labels,
    "operators": engine.operators,
    "producing": throughput.producing,
    "sink": throughput.sink,
    "latency": answers.latency,
    "gateway": answers.gateway,
    "backfill": throughput.backfill,
    "priority": answers.priority,
    "growth": growth.growth,
    "dashboards": answers.dashboards,
}
_INTRODUCTION = (
    "Made by `make bench` from the files in `benchmarks/results/`, which it writes as well. Machines differ and are\n"
    "noisy: read ratios taken in one run, not single figures. Texts are distinct, and workers remember none, so that\n"
    "nothing is answered from memory."
)


def main() -> None:
    """Write the page from what results there are."""
    write_page("performance.md", "Performance", "\n\n".join(filter(None, [_INTRODUCTION, targets()])), SECTIONS)


if __name__ == "__main__":
    main()
