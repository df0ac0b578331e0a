"""What every page made of results is written with: tables, the line about the machine, plots, the page itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.machine import RESULTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DOCS = Path(__file__).resolve().parents[2] / "docs"
PLOTS = DOCS / "plots"

Section = Callable[[dict[str, Any]], str]


def write_page(name: str, title: str, introduction: str, sections: Mapping[str, Section]) -> None:
    """`docs/<name>`: the section of each result that is there, in the order of `sections`, which go by result."""
    parts = [f"# {title}", introduction]
    for result_name, section in sections.items():
        path = RESULTS / f"{result_name}.json"
        if path.exists():
            result = json.loads(path.read_text(encoding="utf-8"))
            parts += [section(result), machine_line(result["machine"], path.name)]
    (DOCS / name).write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    print(f"wrote docs/{name}")  # noqa: T201 - a command's output


def machine_line(machine: Mapping[str, Any], file: str) -> str:
    """Where a section's figures come from: file, processor, versions, commit, time."""
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items() if version)
    return (
        f"<sub>benchmarks/results/{file}: {machine['processor']}, {machine['cpus']} CPUs, {machine['memory_gib']} GiB, "
        f"{machine['system']}, Python {machine['python']}, {packages}; commit {machine['commit']}, "
        f"{machine['measured_at']}</sub>"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def plot(name: str, alt: str, draw: Callable[[Axes], None]) -> str:
    """`docs/plots/<name>.svg` with what `draw` puts on its axes; the Markdown that shows it.

    The same data give the same file, byte for byte.
    """
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": name, "font.size": 9, "axes.grid": True, "grid.alpha": 0.3}):
        figure = Figure(figsize=(6.4, 3.2), layout="constrained")
        draw(figure.subplots())
        PLOTS.mkdir(exist_ok=True)
        figure.savefig(PLOTS / f"{name}.svg", metadata={"Date": None})
    return f"![{alt}](plots/{name}.svg)"
