"""docs/reliability.md from the results of `make chaos` and `make soak`. Nothing in it is written by hand."""

from __future__ import annotations

from typing import Final

from benchmarks.pages import chaos, soak
from benchmarks.pages.writing import Section, write_page

SECTIONS: Final[dict[str, Section]] = {"chaos": chaos.chaos, "soak": soak.soak}
_INTRODUCTION = (
    "What happens when things break, shown on real processes: `make chaos` and `make soak` write the files in\n"
    "`benchmarks/results/` that this page is made from. Every check is SQL on the tables afterwards."
)


def main() -> None:
    """Write the page from what results there are."""
    write_page("reliability.md", "Reliability", _INTRODUCTION, SECTIONS)


if __name__ == "__main__":
    main()
