"""The table of docs/quantization.md from what `benchmarks.quantization` wrote; the words around it are not made here.

python -m benchmarks.pages.quantization
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import RESULTS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "quantization.md"
BEGIN, END = "<!-- tables: made by `python -m benchmarks.pages.quantization` -->", "<!-- end of tables -->"


def main() -> None:
    """Put the tables between the page's two marks. Exits with a message where there are no marks or no results."""
    path = RESULTS / "quantization.json"
    if not path.exists():
        raise SystemExit(f"{path.name} is not there: run `python -m benchmarks quantization` first")
    page = PAGE.read_text(encoding="utf-8")
    if BEGIN not in page or END not in page:
        raise SystemExit(f"docs/{PAGE.name} has no place for the tables: it needs the lines {BEGIN} and {END}")
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    PAGE.write_text(
        before + BEGIN + "\n\n" + tables(json.loads(path.read_text("utf-8"))) + "\n\n" + END + after, "utf-8"
    )
    print(f"wrote docs/{PAGE.name}")  # noqa: T201 - a command's output


def tables(result: dict[str, Any]) -> str:
    """One table of all shapes, and what they were measured with."""
    shapes = result["shapes"]
    head = ["form", "what it is", *(f"{shape['shape']}: one run, slots, processor" for shape in shapes)]
    head += ["largest difference, alone or in a batch", f"MB at {shapes[0]['shape']}"]
    rows = [
        [
            f"`{form['form']}`",
            form["note"],
            *(_ratios(shape["forms"][number]) for shape in shapes),
            f"{max(shape['forms'][number]['largest_difference'] for shape in shapes):.0e}",
            str(form["megabytes"]),
        ]
        for number, form in enumerate(shapes[0]["forms"])
    ]
    machine = result["machine"]
    packages = ", ".join(f"{name} {machine['packages'][name]}" for name in ("onnxruntime", "numpy"))
    return (
        f"Times FP32 in the same round (median of {result['rounds']} rounds), {result['texts']} texts of "
        f"{result['tokens']} tokens, random weights: one run on {result['slots']} threads;\n{result['slots']} slots "
        "of one thread that share a session; processor time of the slots.\n\n"
        + _table(head, rows)
        + f"\n\n<sub>benchmarks/results/quantization.json: {machine['processor']}, {machine['cpus']} CPUs, "
        f"{machine['system']}, Python {machine['python']}, {packages}; commit {machine['commit']}, "
        f"{machine['measured_at']}</sub>"
    )


def _ratios(form: dict[str, Any]) -> str:
    return ", ".join(f"{form[name]:.2f}" for name in ("ratio_one_run", "ratio_slots", "ratio_processor"))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    main()
