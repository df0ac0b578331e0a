"""The tables of docs/quantization.md from what `benchmarks.quantization`, `engine_steps` and `engine_loading` wrote.

The words around them are not made here.

python -m benchmarks.pages.quantization
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import RESULTS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "quantization.md"
_FILES = ("quantization", "engine_steps", "engine_openvino", "engine_loading")
STEPS_BEGIN = "<!-- steps: made by `python -m benchmarks.pages.quantization` -->"
STEPS_END = "<!-- end of steps -->"
BEGIN, END = "<!-- tables: made by `python -m benchmarks.pages.quantization` -->", "<!-- end of tables -->"


def main() -> None:
    """Put the tables between the page's marks. Exits with a message where there are no marks or no results."""
    page = PAGE.read_text(encoding="utf-8")
    results = {path.stem: json.loads(path.read_text("utf-8")) for path in RESULTS.glob("*.json") if path.stem in _FILES}
    if not results:
        raise SystemExit("no results are there: run `python -m benchmarks quantization engine_steps` first")
    if "quantization" in results:
        page = _filled(page, BEGIN, END, tables(results["quantization"]))
    if "engine_steps" in results:
        parts = [steps(results["engine_steps"])]
        parts += [providers(results["engine_openvino"])] if "engine_openvino" in results else []
        parts += [loading(results["engine_loading"])] if "engine_loading" in results else []
        page = _filled(page, STEPS_BEGIN, STEPS_END, "\n\n".join(parts))
    PAGE.write_text(page, "utf-8")
    print(f"wrote docs/{PAGE.name}")  # noqa: T201 - a command's output


def _filled(page: str, begin: str, end: str, content: str) -> str:
    if begin not in page or end not in page:
        raise SystemExit(f"docs/{PAGE.name} has no place for the tables: it needs the lines {begin} and {end}")
    return page.split(begin, maxsplit=1)[0] + begin + "\n\n" + content + "\n\n" + end + page.split(end)[1]


def steps(result: dict[str, Any]) -> str:
    """What each step was to bring and brought."""
    sizes = [f"{run['texts']} x {run['tokens']}: ms, speed" for run in result["steps"][0]["runs"]]
    rows = [
        [
            f"`{step['name']}`",
            step["what"],
            f"`{step['base']}`",
            step["predicted"],
            *(f"{run['ms']:.2f}, {run['speed']:.3f} ({run['speed_best']:.3f})" for run in step["runs"]),
            f"{step['largest_difference']:.0e}",
            step["kept"],
        ]
        for step in result["steps"]
    ]
    head = ["step", "what", "on top of", "predicted", *sizes, "largest difference, alone or in a batch", "kept"]
    return (
        f"An encoder of {result['shape']}, one thread. Milliseconds of processor time, the best of {result['rounds']} "
        "rounds; speed against the step named,\nthe median of the rounds' ratios (in brackets: best round against "
        "best round).\n\n" + _table(head, rows) + _footer(result, "engine_steps")
    )


def providers(result: dict[str, Any]) -> str:
    """Another provider against the CPU's."""
    rows = []
    for row in result["steps"]:
        if "refused" in row:
            rows.append([f"`{row['name']}`", f"refused: {row['refused']}", "", ""])
            continue
        speeds = ", ".join(f"{run['speed']:.3f}" for run in row["runs"])
        rows.append([f"`{row['name']}`", speeds, f"{row['difference']:.0e}", f"{row['largest_difference']:.0e}"])
    sizes = ", ".join(f"{row['texts']} x {row['tokens']}" for row in result["steps"][0]["runs"])
    provider = result["steps"][0]["provider"]
    head = ["graph", f"speed against cpu at {sizes}", "difference from cpu", "alone or in a batch"]
    return (
        f"`FENLIU_PROVIDER={provider}` against `cpu` in one environment (onnxruntime-{provider} {result['version']}), "
        "processor time:\n\n" + _table(head, rows) + _footer(result, f"engine_{provider}")
    )


def loading(result: dict[str, Any]) -> str:
    """What loading takes and what a process holds then, by the way weights come into memory."""
    texts, tokens = result["run"]
    rows = [
        [f"`{way['name']}`", way["what"], f"ends the process, exit code {way['exit_code']:.0f}", "", "", ""]
        if "exit_code" in way
        else [
            f"`{way['name']}`",
            way["what"],
            f"{way['load_s'] * 1000:.0f}",
            f"{way['own_mib']:.0f}",
            f"{way['of_files_mib']:.0f}",
            f"{way['run_ms']:.1f}",
        ]
        for way in result["ways"]
    ]
    head = ["weights", "what", "ms to load", "MiB of its own", "MiB of files", f"ms, run of {texts} x {tokens}"]
    return (
        f"How weights come into memory: INT8, {result['shape']} size, a process each time, median of "
        f"{result['rounds']} rounds:\n\n" + _table(head, rows) + _footer(result, "engine_loading")
    )


def _footer(result: dict[str, Any], file: str) -> str:
    machine = result["machine"]
    return (
        f"\n\n<sub>benchmarks/results/{file}.json: {machine['processor']}, {machine['cpus']} CPUs, "
        f"{machine['system']}, Python {machine['python']}, onnxruntime {result['version']}; "
        f"commit {machine['commit']}, {machine['measured_at']}</sub>"
    )


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
