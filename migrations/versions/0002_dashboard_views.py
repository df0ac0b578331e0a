"""The views that dashboards read: a contract, described by comments in the database."""

from __future__ import annotations

from migrations.view import View

revision = "0002"
down_revision = "0001"


CURRENT = View(
    "dash_current",
    "The current result of every item and task, with the item and, for tickets, the team it is with.",
    {
        "source": "The system the item comes from.",
        "item_id": "The item's id in that system.",
        "kind": "comment or ticket.",
        "state": "done, expired or dead: where the newest entry of the item ended.",
        "lang": "Language of the text (zh, yue, en), null if unknown.",
        "text": "The newest text of the item.",
        "task": "sentiment or routing.",
        "label": "The label with the greatest score.",
        "score": "That score, from 0 to 1.",
        "scores": "All scores by label.",
        "stage": "The part of the model that decided: classifier, encoder, pair or rule.",
        "model": "The model that decided.",
        "model_version": "Its version.",
        "route_set": "The set of teams a ticket was routed among.",
        "route_set_version": "The version of that set.",
        "team": "The team the ticket is with, null for comments.",
        "assignment_status": "auto (by the model), triage (nobody yet) or overridden (by a person).",
        "item_created_at": "When the item was written.",
        "updated_at": "When this text was true at its source.",
        "received_at": "When a worker took the item's newest entry.",
        "classified_at": "When the result was stored.",
    },
    """
    SELECT p.source, p.item_id, i.kind, i.state, i.lang, i.text, p.task, p.label, p.score, p.scores, p.stage,
           p.model, p.model_version, p.route_set, p.route_set_version, a.team, a.status AS assignment_status,
           p.item_created_at, p.updated_at, i.received_at, p.created_at AS classified_at
    FROM predictions p
    JOIN items i USING (source, item_id)
    LEFT JOIN assignments a ON p.task = 'routing' AND a.source = p.source AND a.item_id = p.item_id
    WHERE p.current
    """,
)

SENTIMENT_HOURLY = View(
    "dash_sentiment_hourly",
    "Items per hour in which they were written, source and sentiment.",
    {
        "hour": "The beginning of the hour (UTC) in which the items were written.",
        "source": "The system the items come from.",
        "label": "The sentiment.",
        "items": "How many items.",
        "mean_score": "Mean of their scores, from 0 to 1.",
        "low_confidence": "How many of them have a score under 0.7.",
    },
    """
    SELECT date_bin('1 hour', item_created_at, '2000-01-01 00:00:00+00') AS hour, source, label,
           count(*) AS items, avg(score) AS mean_score, count(*) FILTER (WHERE score < 0.7) AS low_confidence
    FROM predictions
    WHERE current AND task = 'sentiment'
    GROUP BY 1, 2, 3
    """,
)

SENTIMENT_BY_SOURCE = View(
    "dash_sentiment_by_source",
    "Items per source and sentiment, over all time.",
    {
        "source": "The system the items come from.",
        "label": "The sentiment.",
        "items": "How many items.",
        "share": "Their share of the source's items, from 0 to 1.",
        "mean_score": "Mean of their scores, from 0 to 1.",
        "low_confidence": "How many of them have a score under 0.7.",
        "first_at": "When the first of them was written.",
        "last_at": "When the last of them was written.",
    },
    """
    SELECT source, label, count(*) AS items,
           (count(*) / sum(count(*)) OVER (PARTITION BY source))::double precision AS share,
           avg(score) AS mean_score, count(*) FILTER (WHERE score < 0.7) AS low_confidence,
           min(item_created_at) AS first_at, max(item_created_at) AS last_at
    FROM predictions
    WHERE current AND task = 'sentiment'
    GROUP BY source, label
    """,
)

ROUTING_BY_TEAM = View(
    "dash_routing_by_team",
    "Tickets per hour in which they were written, source and the team they are with now.",
    {
        "hour": "The beginning of the hour (UTC) in which the tickets were written.",
        "source": "The system the tickets come from.",
        "team": "The team they are with; triage if nobody is sure enough.",
        "status": "auto (by the model), triage (nobody yet) or overridden (by a person).",
        "tickets": "How many tickets.",
        "mean_score": "Mean of the model's scores, from 0 to 1.",
    },
    """
    SELECT date_bin('1 hour', i.created_at, '2000-01-01 00:00:00+00') AS hour, a.source, a.team, a.status,
           count(*) AS tickets, avg(a.score) AS mean_score
    FROM assignments a
    JOIN items i USING (source, item_id)
    GROUP BY 1, 2, 3, 4
    """,
)

LOW_CONFIDENCE = View(
    "dash_low_confidence",
    "Current results with a score under 0.7: those to look at first.",
    {
        "source": "The system the item comes from.",
        "item_id": "The item's id in that system.",
        "kind": "comment or ticket.",
        "text": "The newest text of the item.",
        "task": "sentiment or routing.",
        "label": "The label with the greatest score.",
        "score": "That score, from 0 to 1.",
        "scores": "All scores by label.",
        "model": "The model that decided.",
        "model_version": "Its version.",
        "team": "The team the ticket is with, null for comments.",
        "assignment_status": "auto (by the model), triage (nobody yet) or overridden (by a person).",
        "item_created_at": "When the item was written.",
        "classified_at": "When the result was stored.",
    },
    """
    SELECT p.source, p.item_id, i.kind, i.text, p.task, p.label, p.score, p.scores, p.model, p.model_version,
           a.team, a.status AS assignment_status, p.item_created_at, p.created_at AS classified_at
    FROM predictions p
    JOIN items i USING (source, item_id)
    LEFT JOIN assignments a ON p.task = 'routing' AND a.source = p.source AND a.item_id = p.item_id
    WHERE p.current AND p.score < 0.7
    """,
)

LATENCY = View(
    "dash_latency",
    "How long results took, per hour and task, over the last 7 days.",
    {
        "hour": "The beginning of the hour (UTC) in which the results were stored.",
        "task": "sentiment or routing.",
        "results": "How many results.",
        "queue_ms_p50": "Median wait in the inbox, in milliseconds.",
        "queue_ms_p95": "95th percentile of the wait in the inbox, in milliseconds.",
        "queue_ms_p99": "99th percentile of the wait in the inbox, in milliseconds.",
        "infer_ms_p50": "Median time in the model, in milliseconds.",
        "infer_ms_p95": "95th percentile of the time in the model, in milliseconds.",
        "infer_ms_p99": "99th percentile of the time in the model, in milliseconds.",
    },
    """
    SELECT date_bin('1 hour', created_at, '2000-01-01 00:00:00+00') AS hour, task, count(*) AS results,
           percentile_cont(0.50) WITHIN GROUP (ORDER BY queue_ms) AS queue_ms_p50,
           percentile_cont(0.95) WITHIN GROUP (ORDER BY queue_ms) AS queue_ms_p95,
           percentile_cont(0.99) WITHIN GROUP (ORDER BY queue_ms) AS queue_ms_p99,
           percentile_cont(0.50) WITHIN GROUP (ORDER BY infer_ms) AS infer_ms_p50,
           percentile_cont(0.95) WITHIN GROUP (ORDER BY infer_ms) AS infer_ms_p95,
           percentile_cont(0.99) WITHIN GROUP (ORDER BY infer_ms) AS infer_ms_p99
    FROM predictions
    WHERE created_at >= now() - interval '7 days'
    GROUP BY 1, 2
    """,
)

THROUGHPUT = View(
    "dash_throughput",
    "Items taken per minute and kind, over the last 24 hours. An item that came again counts once, when it came last.",
    {
        "minute": "The beginning of the minute (UTC) in which a worker took the items.",
        "kind": "comment or ticket.",
        "state": "done, expired or dead.",
        "items": "How many items.",
    },
    """
    SELECT date_bin('1 minute', received_at, '2000-01-01 00:00:00+00') AS minute, kind, state, count(*) AS items
    FROM items
    WHERE received_at >= now() - interval '24 hours'
    GROUP BY 1, 2, 3
    """,
)

DEAD_LETTERS = View(
    "dash_dead_letters",
    "Entries that could not be classified, and why.",
    {
        "id": "Number of the dead letter, as `fenliu dead-letters` takes it.",
        "lane": "The inbox it came from: live or bulk.",
        "entry_id": "The entry's id in that inbox.",
        "source": "The system it comes from, null if the entry does not say.",
        "item_id": "The item's id in that system, null if the entry does not say.",
        "code": "Stable code of what is wrong.",
        "field": "The field at fault.",
        "message": "What is wrong and how to mend it.",
        "deliveries": "How often the entry had been delivered.",
        "waiting": "Whether it has not been replayed yet.",
        "created_at": "When it was stored.",
        "replayed_at": "When it was last put back into an inbox.",
    },
    """
    SELECT id, lane, entry_id, source, item_id, code, field, message, deliveries, replayed_at IS NULL AS waiting,
           created_at, replayed_at
    FROM dead_letters
    """,
)

VIEWS = (
    CURRENT,
    SENTIMENT_HOURLY,
    SENTIMENT_BY_SOURCE,
    ROUTING_BY_TEAM,
    LOW_CONFIDENCE,
    LATENCY,
    THROUGHPUT,
    DEAD_LETTERS,
)


def upgrade() -> None:
    """Create every view."""
    for view in VIEWS:
        view.create()


def downgrade() -> None:
    """Drop every view."""
    for view in reversed(VIEWS):
        view.drop()
