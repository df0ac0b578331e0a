"""Sums that dashboards read: kept by triggers on the tables they sum, read through the `dash_*` views alone.

Every statement on a summed table adds rows of what it changed, with negative numbers for what it took away; what a
key stands at is the sum of all its rows. No row is ever changed, and so no writer waits for another here.
`worker.rollup` folds them into one row per key, which is `folded`. Numbers are whole, so that what is taken away
leaves nothing behind: scores are in billionths. The triggers are in `migrations`.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Index, Integer, Table, Text

from schemas.tables.columns import flag, metadata, moment


def _sum(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False)


# Current sentiments by the hour in which the items were written.
rollup_sentiment = Table(
    "rollup_sentiment",
    metadata,
    moment("hour"),
    Column("source", Text, nullable=False),
    Column("label", Text, nullable=False),
    _sum("items"),
    _sum("score_sum"),
    _sum("low_confidence"),
    flag("folded", default=False),
    Index(None, "hour", "source", "label"),
)

# Assignments by the hour in which the tickets were written. `scored`: how many have a score.
rollup_routing = Table(
    "rollup_routing",
    metadata,
    moment("hour"),
    Column("source", Text, nullable=False),
    Column("team", Text, nullable=False),
    Column("status", Text, nullable=False),
    _sum("tickets"),
    _sum("scored"),
    _sum("score_sum"),
    _sum("low_confidence"),
    flag("folded", default=False),
    Index(None, "hour", "source", "team", "status"),
)

# Items by the minute in which a worker took them. Older ones than the view shows are dropped.
rollup_throughput = Table(
    "rollup_throughput",
    metadata,
    moment("minute"),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("lane", Text, nullable=False),
    _sum("items"),
    flag("folded", default=False),
    Index(None, "minute", "kind", "state", "lane"),
)

# How long results took, by the hour in which they were stored: a histogram whose buckets grow by a constant factor.
# `measure`: queue or infer. Older ones than the view shows are dropped.
rollup_latency = Table(
    "rollup_latency",
    metadata,
    moment("hour"),
    Column("task", Text, nullable=False),
    Column("lane", Text, nullable=False),
    Column("measure", Text, nullable=False),
    Column("bucket", Integer, nullable=False),
    _sum("results"),
    flag("folded", default=False),
    Index(None, "hour", "task", "lane", "measure", "bucket"),
)

# What the histogram of an hour, task and inbox says, kept so that nobody has to ask it again. It holds while no row
# of its key waits to be folded, and is made when they are.
rollup_percentiles = Table(
    "rollup_percentiles",
    metadata,
    moment("hour"),
    Column("task", Text, nullable=False),
    Column("lane", Text, nullable=False),
    _sum("results"),
    *(Column(f"{measure}_ms_p{p}", Double, nullable=False) for measure in ("queue", "infer") for p in (50, 95, 99)),
    Index(None, "hour", "task", "lane"),
)
