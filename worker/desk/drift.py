"""Drift: how far labels, confidence and length of results are from a reference, by the population stability index.

Pure functions of counts, and the query that samples results. References and alerts are `worker.desk.quality`'s.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, TextClause, text

from schemas.names import Measure

MOST_ITEMS = 5_000
SCORE_EDGES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
LENGTH_EDGES = (10, 20, 40, 80, 160, 320, 640, 1_280)
"""Characters; each bin is twice as wide as the one before."""

_PARTS = 48
_MOST_READ = 50_000
_Z_99 = 2.3263478740408408  # of the normal distribution: 99 % lie below it
_HALF = 0.5

# Live results alone: what a backfill pours in says nothing of what arrives now. A rule's decision is not the model's.
# The inner limit bounds what is read, whatever there is of other tasks and versions.
_READ = """
    SELECT p.label, p.score, char_length(i.text) AS characters
    FROM (
        SELECT source, item_id, label, score, created_at, task, model, model_version, lane, stage FROM predictions
        WHERE current AND created_at >= :from_at AND created_at < :to_at ORDER BY created_at DESC LIMIT :most_read
    ) p JOIN items i USING (source, item_id)
    WHERE (p.task, p.model, p.model_version, p.lane) = (:task, :model, :model_version, 'live')
        AND p.stage <> 'rule' AND i.text IS NOT NULL
    ORDER BY p.created_at DESC LIMIT :most
"""
_READ_NEWEST = text(_READ)
_READ_FIRST = text(_READ.replace("DESC", "ASC"))
_IS_CROWDED = text("""
    SELECT count(*) = :many FROM (
        SELECT FROM predictions WHERE current AND created_at >= :from_at AND created_at < :to_at LIMIT :many
    ) AS looked_at
""")

Counts = dict[str, int]


@dataclass(frozen=True, slots=True)
class Distribution:
    """How many results have which label, score and length. Bins are named by their lower edge."""

    items: int
    labels: Counts
    confidence: Counts
    length: Counts

    @classmethod
    def of(cls, rows: Sequence[tuple[str, float, int]]) -> Distribution:
        """Of rows of label, score, characters."""
        return cls(
            len(rows),
            dict(Counter(label for label, _, _ in rows).most_common()),
            _binned([score for _, score, _ in rows], SCORE_EDGES),
            _binned([characters for _, _, characters in rows], LENGTH_EDGES),
        )

    @classmethod
    def from_json(cls, made: dict[str, Any]) -> Distribution:
        """What `as_json` made."""
        return cls(made["items"], made["labels"], made["confidence"], made["length"])

    def as_json(self) -> dict[str, Any]:
        """For `evaluations.metrics`."""
        return {"items": self.items, "labels": self.labels, "confidence": self.confidence, "length": self.length}

    def counts(self, measure: Measure) -> Counts:
        """The counts of one measure of drift."""
        found: Counts = getattr(self, measure.value)
        return found


MEASURES = (Measure.LABELS, Measure.CONFIDENCE, Measure.LENGTH)


@dataclass(frozen=True, slots=True)
class Drift:
    """One measure: its index, and the index that chance alone stays below in 99 of 100 cases."""

    measure: Measure
    value: float
    chance: float


def compare(reference: Distribution, now: Distribution) -> tuple[Drift, ...]:
    """How far `now` is from `reference`. Raises ValueError if one is empty."""
    return tuple(
        Drift(measure, *stability_index(reference.counts(measure), now.counts(measure))) for measure in MEASURES
    )


def stability_index(reference: Counts, now: Counts) -> tuple[float, float]:
    """The population stability index of two histograms, and what chance alone stays below in 99 of 100 cases.

    PSI = sum over bins of (now - reference) * ln(now / reference), in shares (Siddiqi 2006, "Credit Risk Scorecards":
    below 0.1 no change, above 0.25 a large one). Half an item is added to every bin, so that empty ones count too.
    Without any drift PSI / (1/n + 1/m) follows chi-square with bins - 1 degrees of freedom (Yurdakul and Naranjo 2020).
    """
    bins = sorted(reference.keys() | now.keys())
    n, m = sum(reference.values()), sum(now.values())
    if not n or not m:
        raise ValueError("drift from or of nothing")
    index = 0.0
    for name in bins:
        before = (reference.get(name, 0) + _HALF) / (n + _HALF * len(bins))
        after = (now.get(name, 0) + _HALF) / (m + _HALF * len(bins))
        index += (after - before) * math.log(after / before)
    return index, _chi_square_99(len(bins) - 1) * (1 / n + 1 / m)


@dataclass(frozen=True, slots=True)
class Which:
    """Whose results: those of one task of one model version, stored from `from_at` to `to_at`."""

    task: str
    model: str
    model_version: str
    from_at: datetime
    to_at: datetime


def sample(connection: Connection, which: Which) -> Distribution:
    """Live results, at most MOST_ITEMS, spread over the time: of too many, each 48th of it gives its newest ones.

    So all hours of a day are in it, and no more than some 50,000 rows are looked at.
    """
    span = {"from_at": which.from_at, "to_at": which.to_at}
    rows = _rows(connection, _READ_NEWEST, which, MOST_ITEMS + 1)
    if len(rows) > MOST_ITEMS or connection.scalar(_IS_CROWDED, span | {"many": _MOST_READ}):
        part = (which.to_at - which.from_at) / _PARTS
        starts = [which.from_at + number * part for number in range(_PARTS)]
        parts = [replace(which, from_at=at, to_at=at + part) for at in starts]
        rows = [
            row
            for each in parts
            for row in _rows(connection, _READ_NEWEST, each, MOST_ITEMS // _PARTS, _MOST_READ // _PARTS)
        ]
    return Distribution.of(rows)


def newest(connection: Connection, which: Which, most: int) -> Distribution:
    """The newest `most` live results."""
    return Distribution.of(_rows(connection, _READ_NEWEST, which, most))


def first(connection: Connection, which: Which, most: int) -> Distribution:
    """The first `most` live results."""
    return Distribution.of(_rows(connection, _READ_FIRST, which, most))


def _rows(
    connection: Connection, query: TextClause, which: Which, most: int, most_read: int = _MOST_READ
) -> list[tuple[str, float, int]]:
    found = connection.execute(query, asdict(which) | {"most": most, "most_read": most_read})
    return [(row.label, row.score, row.characters) for row in found]


def _binned(values: Sequence[float], edges: Sequence[float]) -> Counts:
    """Counts of the bins between `edges`, from the first that holds anything to the last."""
    names = ["0", *(f"{edge:g}" for edge in edges)]
    found = Counter(bisect_right(edges, value) for value in values)
    return {names[number]: found[number] for number in sorted(found)}


def _chi_square_99(freedom: int) -> float:
    """The value that chi-square stays below in 99 of 100 cases by Wilson and Hilferty (1931): within 1 %."""
    if freedom == 0:
        return 0.0
    ninth = 2 / (9 * freedom)
    return float(freedom * (1 - ninth + _Z_99 * math.sqrt(ninth)) ** 3)
