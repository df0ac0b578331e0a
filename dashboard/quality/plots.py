"""Evaluations as JSON for static/plots.js."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dashboard.words import Words
from schemas.names import Measure
from worker.desk.drift import LENGTH_EDGES, SCORE_EDGES
from worker.desk.evaluations import Data, Evaluation

MOST_LABELS = 8
MOST_VERSIONS = 6
_SHARE = "share"


def all_of(
    words: Words, reviewed: Sequence[Evaluation], measured: dict[Data, Evaluation], data: Data | None
) -> dict[str, Any]:
    """Plots by name: weeks, reliability, and one for each measure of drift. What has no data has no plot."""
    plots: dict[str, Any] = {}
    random = [each for each in reviewed if each.data == Data.RANDOM]
    if random:
        plots["weeks"] = _weeks(words, random)
    if data is not None:
        plots["reliability"] = _reliability(words, measured[data])
    if Data.DRIFT in measured:
        made = measured[Data.DRIFT].metrics
        plots["labels"] = _labels(words, made["reference"]["labels"], made["now"]["labels"])
        for measure, edges in ((Measure.CONFIDENCE, SCORE_EDGES), (Measure.LENGTH, LENGTH_EDGES)):
            plots[measure.value] = _histogram(
                words, measure, edges, made["reference"][measure.value], made["now"][measure.value]
            )
    return plots


def _weeks(words: Words, random: Sequence[Evaluation]) -> dict[str, Any]:
    """Accuracy on random reviews by week of decision, a line per version."""
    newest = sorted(random, key=lambda each: each.to_at.timestamp() if each.to_at else 0.0)[-MOST_VERSIONS:]
    weeks = sorted({week["week"] for each in newest for week in each.metrics["weeks"]})
    series = []
    for each in newest:
        found = {week["week"]: week["accuracy"]["value"] for week in each.metrics["weeks"]}
        series.append(
            {
                "name": f"{each.model}/{each.model_version}",
                "unit": _SHARE,
                "values": [found.get(week) for week in weeks],
            }
        )
    return {
        "kind": "line",
        "about": words("Accuracy on random reviews by week, one line for each model version"),
        "x": [f"{week}T00:00:00Z" for week in weeks],
        "bin": "week",
        "series": series,
    }


def _reliability(words: Words, shown: Evaluation) -> dict[str, Any]:
    """Per bin of scores: the share that is right, beside the mean score, which it should be."""
    bins = shown.metrics["bins"]
    return {
        "kind": "stacked",
        "about": words("Share of right results for each range of scores, beside the mean score"),
        "x": [f"{words.percent(each['low'])} – {words.percent(each['high'])}" for each in bins],
        "series": [
            {"name": words("Right"), "unit": _SHARE, "values": [each["right"] for each in bins]},
            {"name": words("Mean score"), "unit": _SHARE, "kind": "line", "tone": "warn",
             "values": [each["score"] for each in bins]},
        ],
    }  # fmt: skip


def _labels(words: Words, reference: dict[str, int], now: dict[str, int]) -> dict[str, Any]:
    """Two stacked bars; labels beyond the commonest are one."""
    names = sorted(
        reference.keys() | now.keys(), key=lambda label: (-reference.get(label, 0) - now.get(label, 0), label)
    )
    shown = [(label, {label}) for label in names[:MOST_LABELS]]
    if len(names) > MOST_LABELS:
        shown.append((words("others"), set(names[MOST_LABELS:])))
    return {
        "kind": "bars",
        "about": words("Share of each label in the reference and now"),
        "x": [words("Reference"), words("Now")],
        "series": [
            {"name": name, "unit": _SHARE,
             "values": [sum(counts.get(label, 0) for label in labels) / max(1, sum(counts.values()))
                        for counts in (reference, now)]}
            for name, labels in shown
        ],
    }  # fmt: skip


def _histogram(
    words: Words, measure: Measure, edges: Sequence[float], reference: dict[str, int], now: dict[str, int]
) -> dict[str, Any]:
    """A line each for the reference and now over the bins."""
    lows = [0, *edges]
    names = [f"{low:g}" for low in lows]
    with_high = [*(f"{low:g} – {high:g}" for low, high in zip(lows, edges, strict=False)), f"{edges[-1]:g} –"]
    used = [at for at, name in enumerate(names) if reference.get(name) or now.get(name)]
    span = range(min(used, default=0), max(used, default=0) + 1)
    about = {
        Measure.CONFIDENCE: words("Share of results by score, in the reference and now"),
        Measure.LENGTH: words("Share of texts by length in characters, in the reference and now"),
    }
    return {
        "kind": "line",
        "about": about[measure],
        "x": [with_high[at] for at in span],
        "series": [
            {"name": name, "unit": _SHARE, "tone": tone,
             "values": [counts.get(names[at], 0) / max(1, sum(counts.values())) for at in span]}
            for name, counts, tone in ((words("Reference"), reference, "soft"), (words("Now"), now, "good"))
        ],
    }  # fmt: skip
