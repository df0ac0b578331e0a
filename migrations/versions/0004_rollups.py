"""Views that answer at once: sums kept by triggers, and an index for every list that a dashboard asks for."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from migrations.rollup import Kept, Rollup, create_rebuild, drop_rebuild
from migrations.view import View, views_of

revision = "0004"
down_revision = "0003"

# What is NaN or beyond all bounds must not stop a row from being stored.
_SCORE = "round(least(greatest(score, 0), 1) * 1e9)::integer"
_GROWTH = "1.1::double precision"


def _bin(unit: str, moment: str) -> str:
    return f"date_bin('1 {unit}', {moment}, '2000-01-01 00:00:00+00')"


SENTIMENT = Rollup(
    "rollup_sentiment",
    {"hour": _bin("hour", "item_created_at"), "source": "source", "label": "label"},
    {"items": "1", "score_sum": _SCORE, "low_confidence": "(score < 0.7)::integer"},
    reads=("item_created_at", "source", "label", "score", "current", "task"),
    where="current AND task = 'sentiment'",
)
# A bucket's upper end is 1.1 times its lower end; all up to 0.1 ms share one.
LATENCIES = [
    Rollup(
        "rollup_latency",
        {
            "hour": _bin("hour", "created_at"),
            "task": "task",
            "lane": "lane",
            "measure": f"'{measure}'",
            "bucket": f"ceil(ln({bounded}) / ln({_GROWTH}))::integer",
        },
        {"results": "1"},
        reads=("created_at", "task", "lane", f"{measure}_ms"),
        where="created_at >= now() - interval '8 days'",
    )
    for measure in ("queue", "infer")
    for bounded in [f"least(greatest({measure}_ms, 0.1), 1e12)"]
]
THROUGHPUT = Rollup(
    "rollup_throughput",
    {"minute": _bin("minute", "received_at"), "kind": "kind", "state": "state", "lane": "lane"},
    {"items": "1"},
    reads=("received_at", "kind", "state", "lane"),
    where="received_at >= now() - interval '2 days'",
)
ROUTING = Rollup(
    "rollup_routing",
    {"hour": _bin("hour", "item_created_at"), "source": "source", "team": "team", "status": "status"},
    {
        "tickets": "1",
        "scored": "(score IS NOT NULL)::integer",
        "score_sum": f"coalesce({_SCORE}, 0)",
        "low_confidence": "coalesce(score < 0.7, false)::integer",
    },
    reads=("item_created_at", "source", "team", "status", "score"),
)
# In the order in which writers take their locks.
KEPT = (
    Kept("items", [THROUGHPUT]),
    Kept("predictions", [SENTIMENT, *LATENCIES], made_of_them=["rollup_percentiles"]),
    Kept("assignments", [ROUTING]),
)
_PERCENTILES = [f"{measure}_ms_p{percent}" for measure in ("queue", "infer") for percent in (50, 95, 99)]
_LOCK = f"LOCK TABLE {', '.join(kept.table for kept in KEPT)} IN ACCESS EXCLUSIVE MODE"
_TABLES = {rollup.name: rollup for kept in KEPT for rollup in kept.rollups}

_BEFORE = {view.name: view for view in views_of("0002_dashboard_views")}

CURRENT = View(
    "dash_current",
    _BEFORE["dash_current"].about,
    _BEFORE["dash_current"].columns
    | {"team_since": "When the ticket came to that team, or its status changed; null for comments."},
    # Every prediction has its item: LEFT JOIN, so that a query that asks for nothing of the item need not look it up.
    # Assignments are joined to items, along the foreign key: so Postgres knows how many it will find.
    """
    SELECT p.source, p.item_id, i.kind, i.state, i.lang, i.text, p.task, p.label, p.score, p.scores, p.stage,
           p.model, p.model_version, p.route_set, p.route_set_version, a.team, a.status AS assignment_status,
           p.item_created_at, p.updated_at, i.received_at, p.created_at AS classified_at, a.changed_at AS team_since
    FROM predictions p
    LEFT JOIN items i ON i.source = p.source AND i.item_id = p.item_id
    LEFT JOIN assignments a ON p.task = 'routing' AND a.source = i.source AND a.item_id = i.item_id
    WHERE p.current
    """,
)
LOW_CONFIDENCE = View(
    "dash_low_confidence",
    _BEFORE["dash_low_confidence"].about,
    _BEFORE["dash_low_confidence"].columns
    | {
        "team_score": "The score the ticket came to its team with, null for comments: in its order, a team's are quick."
    },
    """
    SELECT p.source, p.item_id, i.kind, i.text, p.task, p.label, p.score, p.scores, p.model, p.model_version,
           a.team, a.status AS assignment_status, p.item_created_at, p.created_at AS classified_at,
           a.score AS team_score
    FROM predictions p
    LEFT JOIN items i ON i.source = p.source AND i.item_id = p.item_id
    LEFT JOIN assignments a ON p.task = 'routing' AND a.source = i.source AND a.item_id = i.item_id
    WHERE p.current AND p.score < 0.7
    """,
)
SENTIMENT_HOURLY = View(
    "dash_sentiment_hourly",
    _BEFORE["dash_sentiment_hourly"].about,
    _BEFORE["dash_sentiment_hourly"].columns,
    """
    SELECT hour, source, label, sum(items)::bigint AS items,
           sum(score_sum)::double precision / sum(items)::double precision / 1e9 AS mean_score,
           sum(low_confidence)::bigint AS low_confidence
    FROM rollup_sentiment
    GROUP BY hour, source, label
    HAVING sum(items) <> 0
    """,
)
SENTIMENT_BY_SOURCE = View(
    "dash_sentiment_by_source",
    _BEFORE["dash_sentiment_by_source"].about,
    _BEFORE["dash_sentiment_by_source"].columns,
    # The first and the last of them are looked up in the first and the last hour that has any.
    """
    SELECT t.source, t.label, t.items::bigint AS items,
           (t.items / sum(t.items) OVER (PARTITION BY t.source))::double precision AS share,
           t.score_sum::double precision / t.items::double precision / 1e9 AS mean_score,
           t.low_confidence::bigint AS low_confidence,
           (SELECT p.item_created_at FROM predictions p
            WHERE p.current AND p.task = 'sentiment' AND p.source = t.source AND p.label = t.label
              AND p.item_created_at >= t.first_hour AND p.item_created_at < t.first_hour + interval '1 hour'
            ORDER BY p.item_created_at LIMIT 1) AS first_at,
           (SELECT p.item_created_at FROM predictions p
            WHERE p.current AND p.task = 'sentiment' AND p.source = t.source AND p.label = t.label
              AND p.item_created_at >= t.last_hour AND p.item_created_at < t.last_hour + interval '1 hour'
            ORDER BY p.item_created_at DESC LIMIT 1) AS last_at
    FROM (
        SELECT source, label, sum(items) AS items, sum(score_sum) AS score_sum, sum(low_confidence) AS low_confidence,
               min(hour) AS first_hour, max(hour) AS last_hour
        FROM (
            SELECT hour, source, label, sum(items) AS items, sum(score_sum) AS score_sum,
                   sum(low_confidence) AS low_confidence
            FROM rollup_sentiment
            GROUP BY hour, source, label
            HAVING sum(items) <> 0
        ) AS hours
        GROUP BY source, label
    ) AS t
    """,
)
ROUTING_BY_TEAM = View(
    "dash_routing_by_team",
    _BEFORE["dash_routing_by_team"].about,
    _BEFORE["dash_routing_by_team"].columns | {"low_confidence": "How many of them the model gave a score under 0.7."},
    """
    SELECT hour, source, team, status, sum(tickets)::bigint AS tickets,
           sum(score_sum)::double precision / nullif(sum(scored), 0)::double precision / 1e9 AS mean_score,
           sum(low_confidence)::bigint AS low_confidence
    FROM rollup_routing
    GROUP BY hour, source, team, status
    HAVING sum(tickets) <> 0
    """,
)
_WEEK = _bin("hour", "now() - interval '7 days'")


def _percentile(name: str) -> str:
    measure, _, percent = name.partition("_ms_p")
    return f"min(ms) FILTER (WHERE measure = '{measure}' AND upto >= 0.{percent} * total)"


LATENCY_VIEW = View(
    "dash_latency",
    "How long results took, per hour, task and inbox, over the last 7 days. Percentiles are within 5 percent.",
    _BEFORE["dash_latency"].columns | {"lane": "The inbox the items came through: live or bulk."},
    # A percentile is the middle, by ratio, of the first bucket at which its share of the results is reached. Those of
    # hours in which nothing waits to be folded have been worked out before.
    f"""
    SELECT hour, task, results, {", ".join(_PERCENTILES)}, lane
    FROM rollup_percentiles AS known
    WHERE hour >= {_WEEK} AND NOT EXISTS (
        SELECT FROM rollup_latency AS l
        WHERE NOT l.folded AND l.hour = known.hour AND l.task = known.task AND l.lane = known.lane
    )
    UNION ALL
    SELECT hour, task, sum(results) FILTER (WHERE measure = 'queue')::bigint AS results,
           {", ".join(_percentile(name) for name in _PERCENTILES)}, lane
    FROM (
        SELECT hour, task, lane, measure, results, power({_GROWTH}, bucket - 0.5::double precision) AS ms,
               sum(results) OVER (PARTITION BY hour, task, lane, measure ORDER BY bucket
                                  ROWS UNBOUNDED PRECEDING) AS upto,
               sum(results) OVER (PARTITION BY hour, task, lane, measure) AS total
        FROM (
            SELECT hour, task, lane, measure, bucket, sum(results)::double precision AS results
            FROM rollup_latency
            WHERE hour >= {_WEEK} AND (hour, task, lane) IN (
                SELECT hour, task, lane FROM rollup_latency WHERE NOT folded AND hour >= {_WEEK}
            )
            GROUP BY hour, task, lane, measure, bucket
            HAVING sum(results) <> 0
        ) AS buckets
    ) AS histogram
    GROUP BY hour, task, lane
    """,  # noqa: S608 - constants
)
THROUGHPUT_VIEW = View(
    "dash_throughput",
    "Items taken per minute, kind and inbox, over the last 24 hours. An item that came again counts once, when it came"
    " last.",
    _BEFORE["dash_throughput"].columns | {"lane": "The inbox they came through: live or bulk."},
    """
    SELECT minute, kind, state, sum(items)::bigint AS items, lane
    FROM rollup_throughput
    WHERE minute >= date_bin('1 minute', now() - interval '24 hours', '2000-01-01 00:00:00+00')
    GROUP BY minute, kind, state, lane
    HAVING sum(items) <> 0
    """,
)
_BY_SUMS = (SENTIMENT_HOURLY, SENTIMENT_BY_SOURCE, ROUTING_BY_TEAM, LATENCY_VIEW, THROUGHPUT_VIEW)
VIEWS = (CURRENT, LOW_CONFIDENCE, *_BY_SUMS)


_TYPES: dict[str, sa.types.TypeEngine[Any]] = {
    "hour": sa.DateTime(timezone=True),
    "minute": sa.DateTime(timezone=True),
    "bucket": sa.Integer(),
}


def _create_rollup_table(rollup: Rollup) -> None:
    op.create_table(
        rollup.name,
        *(sa.Column(name, _TYPES.get(name, sa.Text()), nullable=False) for name in rollup.keys),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in rollup.sums),
        sa.Column("folded", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    op.create_index(op.f(f"ix_{rollup.name}_{'_'.join(rollup.keys)}"), rollup.name, list(rollup.keys))


def upgrade() -> None:
    """Indexes, rollups of what is there, triggers, views. Workers wait meanwhile, from before their first lock."""
    op.execute(_LOCK)
    for name in ("ix_predictions_current_time", "ix_predictions_created_at"):
        op.drop_index(op.f(name), table_name="predictions")
    for name, columns in (
        ("ix_predictions_current_time", ["item_created_at"]),
        ("ix_predictions_current_source_time", ["source", "item_created_at"]),
        ("ix_predictions_current_stored", ["created_at"]),
    ):
        op.create_index(op.f(name), "predictions", columns, postgresql_where=sa.text("current"))
    op.create_index(op.f("ix_assignments_team_score"), "assignments", ["team", "score"])
    for rollup in _TABLES.values():
        _create_rollup_table(rollup)
    op.create_table(
        "rollup_percentiles",
        *(sa.Column(name, _TYPES.get(name, sa.Text()), nullable=False) for name in ("hour", "task", "lane")),
        sa.Column("results", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.Double(), nullable=False) for name in _PERCENTILES),
    )
    op.create_index(op.f("ix_rollup_percentiles_hour_task_lane"), "rollup_percentiles", ["hour", "task", "lane"])
    for kept in KEPT:
        kept.create()
    create_rebuild(KEPT)
    op.execute("SELECT rollup_rebuild()")
    for view in VIEWS:
        view.create()


def downgrade() -> None:
    """The views on whole tables again, and no rollups."""
    op.execute(_LOCK)
    for view in VIEWS:
        view.drop()
        _BEFORE[view.name].create()
    drop_rebuild()
    for kept in KEPT:
        kept.drop()
    for name in (*_TABLES, "rollup_percentiles"):
        op.drop_table(name)
    op.drop_index(op.f("ix_assignments_team_score"), table_name="assignments")
    for name in ("ix_predictions_current_stored", "ix_predictions_current_source_time", "ix_predictions_current_time"):
        op.drop_index(op.f(name), table_name="predictions")
    op.create_index(op.f("ix_predictions_created_at"), "predictions", ["created_at"])
    op.create_index(
        op.f("ix_predictions_current_time"),
        "predictions",
        ["task", "item_created_at"],
        postgresql_where=sa.text("current"),
    )
