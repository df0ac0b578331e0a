"""Sections on the engine itself: what a run of the model goes to, and how near it comes to the machine's peak."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.pages.writing import plot, table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SHOWN = 12


def operators(result: dict[str, Any]) -> str:
    """The profile by operator, and shares of the INT8 peak."""
    runs, peak = result["runs"], result["peak_gmac_per_s"]
    names = list(runs[0]["operators"])[:_SHOWN]
    shares = [
        [f"`{name}`", str(runs[0]["operators"][name]["calls"]), *(f"{_share(run, name):.1%}" for run in runs)]
        for name in names
    ]
    shares.append(["the rest", "", *(f"{1 - sum(_share(run, name) for name in names):.1%}" for run in runs)])
    speeds = [
        [
            _size(run),
            f"{run['run_ms']:.2f}",
            f"{run['product_gmac'] / run['run_ms'] * 1e3:.0f}",
            f"{run['peak_share_of_run']:.0%}",
            f"{run['peak_share_of_products']:.0%}" if run["peak_share_of_products"] is not None else "",
        ]
        for run in runs
    ]
    head = ["texts x tokens", "ms of processor", "GMAC/s of INT8 products", "of the INT8 peak", "products alone"]
    return (
        "## What a run of the model goes to\n\n"
        f"Model {result['model']}, one thread. Large matrices ({result['peak_size']} cubed) reach "
        f"{peak['int8']:.0f} GMAC/s in INT8 and {peak['fp32']:.0f}\nin FP32 in the same process: the peak of "
        "the machine as onnxruntime reaches it.\n\n"
        + table(head, speeds)
        + "\n\n"
        + plot("operators", "Share of a run's time by operator", lambda axes: _bars(axes, runs, names))
        + "\n\n"
        + table(["operator", "calls a run", *(f"{_size(run)}" for run in runs)], shares)
    )


def _bars(axes: Axes, runs: list[dict[str, Any]], names: list[str]) -> None:
    left = [0.0] * len(runs)
    labels = [_size(run) for run in runs]
    for name in names[: _SHOWN // 2]:
        shares = [_share(run, name) * 100 for run in runs]
        axes.barh(labels, shares, left=left, label=name)
        left = [start + share for start, share in zip(left, shares, strict=True)]
    axes.barh(labels, [100 - start for start in left], left=left, label="the rest", color="lightgrey")
    axes.set_xlabel("share of the run, %")
    axes.legend(fontsize=7, ncols=2)


def _size(run: dict[str, Any]) -> str:
    return f"{run['texts']} x {run['tokens']}"


def _share(run: dict[str, Any], name: str) -> float:
    found: dict[str, float] = run["operators"].get(name, {})
    return found.get("share", 0.0)
