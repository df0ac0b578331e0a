"""A database as large as one likes, made by a few statements, and the queries that dashboards ask of it."""

from __future__ import annotations

from sqlalchemy import Engine, text

from worker.rollup import fold

ITEMS_PER_PREDICTION = 0.75
"""Of four predictions, three items: two comments with a sentiment, a ticket with a sentiment and a team."""
DAYS = 180

# Half of the items are of the last week: latencies and throughput are asked of that time. Sources and teams are of
# very unequal size, down to one in ten thousand.
_ITEMS = text(
    """
    INSERT INTO items (source, item_id, kind, text, lang, state, created_at, updated_at, received_at, entry_id,
                       entry_ms, entry_seq, lane)
    SELECT CASE WHEN n % 10000 = 7 THEN 'rare' ELSE (ARRAY['app', 'shop', 'web', 'forum', 'mail'])[1 + n % 5] END,
           n::text, CASE WHEN n % 3 = 0 THEN 'ticket' ELSE 'comment' END, repeat('物流太慢了，', 1 + n % 8), 'zh',
           CASE WHEN n % 1000 = 11 THEN 'expired' ELSE 'done' END, at, at, at + interval '1 second', n || '-0', n, 0,
           CASE WHEN n % 5 = 4 THEN 'bulk' ELSE 'live' END
    FROM (
        SELECT n, now() - make_interval(
                   secs => (n::double precision / :items) * CASE n % 2 WHEN 0 THEN 7 ELSE :days END * 86400
               ) AS at
        FROM generate_series(:first, :last) AS n
    ) AS numbers
    """
)
_PREDICTIONS = text(
    """
    INSERT INTO predictions (source, item_id, task, model, model_version, label, score, scores, stage, production,
                             current, queue_ms, infer_ms, entry_id, entry_ms, entry_seq, item_created_at, updated_at,
                             created_at, lane)
    SELECT source, item_id, task, 'bench', '1', label, score, jsonb_build_object(label, score), 'encoder', true, true,
           exp(3 + 1.2 * random_normal()), exp(2.5 + 0.5 * random_normal()), entry_id, entry_ms, 0, created_at,
           updated_at, received_at, lane
    FROM (
        SELECT items.*, 'sentiment' AS task, CASE WHEN random() < 0.001 THEN 'neutral' WHEN random() < 0.4
               THEN 'negative' ELSE 'positive' END AS label, 1 - 0.5 * power(random(), 3) AS score
        FROM items WHERE entry_ms BETWEEN :first AND :last
        UNION ALL
        SELECT items.*, 'routing', (ARRAY['billing', 'delivery', 'returns', 'account'])[1 + entry_ms % 4],
               1 - 0.7 * power(random(), 2)
        FROM items WHERE entry_ms BETWEEN :first AND :last AND kind = 'ticket'
    ) AS results
    """
)
_ASSIGNMENTS = text(
    """
    INSERT INTO assignments (source, item_id, team, score, status, entry_id, entry_ms, entry_seq, updated_at,
                             changed_at, created_at, item_created_at)
    SELECT source, item_id, CASE WHEN entry_ms % 500 = 0 THEN 'legal' WHEN score < 0.4 THEN 'triage' ELSE label END,
           score, CASE WHEN entry_ms % 500 = 0 THEN 'overridden' WHEN score < 0.4 THEN 'triage' ELSE 'auto' END,
           entry_id, entry_ms, 0, updated_at, created_at, created_at, item_created_at
    FROM predictions WHERE task = 'routing' AND entry_ms BETWEEN :first AND :last
    """
)
_DEAD_LETTERS = text(
    """
    INSERT INTO dead_letters (lane, entry_id, source, item_id, code, field, message, raw, deliveries, created_at)
    SELECT 'live', n || '-0', 'shop', 'd' || n, 'missing_field', 'text', 'text: is missing', '{}', 1,
           now() - make_interval(mins => n)
    FROM generate_series(1, :items / 100) AS n
    """
)

QUERIES = {
    "dash_current, the newest 100": "SELECT * FROM dash_current ORDER BY item_created_at DESC LIMIT 100",
    "dash_current, the last 100 stored": "SELECT * FROM dash_current ORDER BY classified_at DESC LIMIT 100",
    "dash_current, the newest 100 of a source": (
        "SELECT * FROM dash_current WHERE source = 'shop' AND task = 'sentiment'"
        " ORDER BY item_created_at DESC LIMIT 100"
    ),
    "dash_current, the newest 100 of a rare source": (
        "SELECT * FROM dash_current WHERE source = 'rare' ORDER BY item_created_at DESC LIMIT 100"
    ),
    "dash_current, a team's newest 100": (
        "SELECT * FROM dash_current WHERE team = 'billing' ORDER BY team_since DESC LIMIT 100"
    ),
    "dash_current, a small team's newest 100": (
        "SELECT * FROM dash_current WHERE team = 'legal' ORDER BY team_since DESC LIMIT 100"
    ),
    "dash_current, one item": "SELECT * FROM dash_current WHERE source = 'shop' AND item_id = '6'",
    "dash_current, a page of one hour": (
        "SELECT * FROM dash_current WHERE item_created_at >= date_trunc('hour', now() - interval '3 hours')"
        " AND item_created_at < date_trunc('hour', now() - interval '2 hours')"
        " ORDER BY item_created_at LIMIT 100 OFFSET 300"
    ),
    "dash_sentiment_hourly, all": "SELECT * FROM dash_sentiment_hourly",
    "dash_sentiment_hourly, a week by day": (
        "SELECT date_trunc('day', hour) AS day, label, sum(items) FROM dash_sentiment_hourly"
        " WHERE hour >= now() - interval '7 days' GROUP BY 1, 2"
    ),
    "dash_sentiment_hourly, low confidence by hour": (
        "SELECT hour, sum(low_confidence) FROM dash_sentiment_hourly"
        " WHERE source = 'shop' AND hour >= now() - interval '7 days' GROUP BY hour ORDER BY hour"
    ),
    "dash_sentiment_by_source, all": "SELECT * FROM dash_sentiment_by_source",
    "dash_sentiment_by_source, one source": "SELECT * FROM dash_sentiment_by_source WHERE source = 'rare'",
    "dash_routing_by_team, all": "SELECT * FROM dash_routing_by_team",
    "dash_routing_by_team, a day": (
        "SELECT team, status, sum(tickets) FROM dash_routing_by_team WHERE hour >= now() - interval '1 day'"
        " GROUP BY team, status"
    ),
    "dash_low_confidence, the lowest 100": "SELECT * FROM dash_low_confidence ORDER BY score LIMIT 100",
    "dash_low_confidence, the newest 100": "SELECT * FROM dash_low_confidence ORDER BY item_created_at DESC LIMIT 100",
    "dash_low_confidence, the lowest 100 of a source": (
        "SELECT * FROM dash_low_confidence WHERE source = 'shop' ORDER BY score LIMIT 100"
    ),
    "dash_low_confidence, the lowest 100 of a rare source": (
        "SELECT * FROM dash_low_confidence WHERE source = 'rare' ORDER BY score LIMIT 100"
    ),
    "dash_low_confidence, the lowest 100 of a team": (
        "SELECT * FROM dash_low_confidence WHERE team = 'billing' ORDER BY team_score LIMIT 100"
    ),
    "dash_low_confidence, how many of a day": (
        "SELECT task, count(*) FROM dash_low_confidence WHERE item_created_at >= now() - interval '1 day' GROUP BY task"
    ),
    "dash_latency, all": "SELECT * FROM dash_latency",
    "dash_latency, a day of the live inbox": (
        "SELECT hour, queue_ms_p99 FROM dash_latency"
        " WHERE lane = 'live' AND task = 'sentiment' AND hour >= now() - interval '1 day'"
    ),
    "dash_throughput, all": "SELECT * FROM dash_throughput",
    "dash_throughput, an hour": (
        "SELECT minute, sum(items) FROM dash_throughput WHERE minute >= now() - interval '1 hour' GROUP BY minute"
    ),
    "dash_dead_letters, the newest 100": "SELECT * FROM dash_dead_letters ORDER BY created_at DESC LIMIT 100",
    "dash_dead_letters, the newest 100 that wait": (
        "SELECT * FROM dash_dead_letters WHERE waiting ORDER BY created_at DESC LIMIT 100"
    ),
    "dash_dead_letters, by code": "SELECT code, count(*) FROM dash_dead_letters WHERE waiting GROUP BY code",
}


def fill(engine: Engine, predictions: int, at_once: int = 300_000) -> None:
    """Fill an empty database with about `predictions` predictions, their items and assignments, and dead letters.

    Checks and triggers are left out and the sums made afterwards, as a restored dump would: this wants a superuser.
    """
    items = int(predictions * ITEMS_PER_PREDICTION)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET session_replication_role = replica"))
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("SELECT setseed(0.5)"))
        for first in range(1, items + 1, at_once):
            part = {"first": first, "last": min(first + at_once - 1, items)}
            connection.execute(_ITEMS, part | {"items": items, "days": DAYS})
            connection.execute(_PREDICTIONS, part)
            connection.execute(_ASSIGNMENTS, part)
        connection.execute(_DEAD_LETTERS, {"items": items})
        connection.execute(text("SET session_replication_role = origin"))
        connection.execute(text("SELECT rollup_rebuild()"))
        fold(engine)
        connection.execute(text("VACUUM ANALYZE"))
        connection.invalidate()
