"""Pictures of training and evaluation, as PNG: confusion matrix, learning curves, confidence histogram.

Drawn without a screen. Class names that no font at hand can show become the numbers they have in the text report.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_DPI = 120
_PLAIN = "DejaVu Sans"
_CHINESE = (
    "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN", "Noto Sans CJK JP",
    "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback", "Microsoft YaHei", "SimHei", "PingFang SC",
    "Hiragino Sans GB", "Heiti SC", "Arial Unicode MS",
)  # fmt: skip
_MOST_ANNOTATED = 20
_BINS = 15

Curve = Sequence[tuple[float, float]]
"""Points (epoch, value)."""


def confusion_png(confusion: Sequence[Sequence[int]], labels: Sequence[str]) -> bytes:
    """`confusion`: true labels down, found labels across. Colours show the share of the true label's texts."""
    counts = np.asarray(confusion, float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = len(labels)
    family, names = _legible(labels)
    note = "" if names[0] != "0" else " (numbers as in the text report: no font here has the names)"
    side_inches = min(16.0, 3.2 + 0.45 * size)
    with mpl.rc_context({"font.family": family}):
        figure = Figure(figsize=(side_inches + 0.8, side_inches), layout="constrained")
        axes = figure.add_subplot()
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks(range(size), names, rotation=45 if size > 4 else 0)
        axes.set_yticks(range(size), names)
        axes.set_xlabel(f"found{note}", wrap=True)
        axes.set_ylabel("true")
        axes.set_title("Texts by true and found class")
        if size <= _MOST_ANNOTATED:
            for row, column in np.ndindex(size, size):
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, f"{int(counts[row, column])}", ha="center", va="center", color=colour)
        figure.colorbar(image, label="share of the true class", shrink=0.8)
        return _png(figure)


def curves_png(panels: Mapping[str, Mapping[str, Curve]], best_epoch: int = 0, over: str = "epoch") -> bytes:
    """A panel for each entry, a line for each of its curves, `over` epochs or steps. `best_epoch`: 0 marks none."""
    with mpl.rc_context({"font.family": [_PLAIN]}):
        figure = Figure(figsize=(5.2 * len(panels), 3.8), layout="constrained")
        for number, (title, curves) in enumerate(panels.items(), 1):
            axes = figure.add_subplot(1, len(panels), number)
            for name, points in curves.items():
                at, values = zip(*points, strict=True) if points else ((), ())
                axes.plot(at, values, label=name, marker="o" if len(points) <= 30 else None, markersize=3)
            if best_epoch:
                axes.axvline(best_epoch, color="grey", linestyle=":", label=f"kept: epoch {best_epoch}")
            axes.set_title(title)
            axes.set_xlabel(over)
            axes.grid(alpha=0.3)
            if curves:
                axes.legend()
        return _png(figure)


def confidence_png(confidence: Sequence[float], correct: Sequence[bool]) -> bytes:
    """How many texts got which score, right and wrong ones apart, and how often each score was right."""
    scores, hits = np.asarray(confidence, float), np.asarray(correct, bool)
    edges = np.linspace(0, 1, _BINS + 1)
    which = np.minimum((scores * _BINS).astype(int), _BINS - 1)
    with mpl.rc_context({"font.family": [_PLAIN]}):
        figure = Figure(figsize=(10.4, 3.8), layout="constrained")
        axes = figure.add_subplot(1, 2, 1)
        axes.hist([scores[hits], scores[~hits]], bins=edges.tolist(), stacked=True, label=["right", "wrong"])
        axes.set_xlabel("score of the found label")
        axes.set_ylabel("texts")
        axes.set_title("Confidence")
        axes.legend()
        axes = figure.add_subplot(1, 2, 2)
        axes.plot([0, 1], [0, 1], color="grey", linestyle=":", label="as it should be")
        filled = [number for number in range(_BINS) if (which == number).any()]
        means: list[npt.NDArray[np.float64]] = [
            np.array([values[which == number].mean() for number in filled]) for values in (scores, hits.astype(float))
        ]
        axes.plot(means[0], means[1], marker="o", label="found")
        axes.set_xlabel("mean score")
        axes.set_ylabel("share that is right")
        axes.set_title("Calibration")
        axes.legend()
        return _png(figure)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()


def _legible(labels: Sequence[str]) -> tuple[list[str], list[str]]:
    """Font families, and the names to write: as they are if one font has all their characters, else numbers."""
    characters = {ord(character) for label in labels for character in label}
    names = [f"{number} {label}".replace("$", r"\$") for number, label in enumerate(labels)]
    if _has(_PLAIN, characters):
        return [_PLAIN], names
    installed = set(font_manager.get_font_names())
    for family in _CHINESE:
        if family in installed and _has(family, characters):
            return [family, _PLAIN], names
    return [_PLAIN], [str(number) for number in range(len(labels))]


def _has(family: str, characters: Iterable[int]) -> bool:
    font = font_manager.get_font(font_manager.findfont(family))
    return all(font.get_char_index(character) for character in characters)
