"""What there is to choose from, since when there is anything, and what is wrong at the moment."""

from __future__ import annotations

# Between what `window` calls EARLIEST and LATEST: beyond lie times of systems that know none.
EXTENT = """
SELECT min(hour) FILTER (WHERE hour BETWEEN '1900-01-01+00' AND '2199-12-31 23:00+00') AS first_at,
       max(hour) FILTER (WHERE hour BETWEEN '1900-01-01+00' AND '2199-12-31 23:00+00') + interval '1 hour' AS last_at,
       count(*) > 0 AS has_items,
       EXISTS (SELECT FROM dash_routing_by_team) AS has_tickets,
       EXISTS (SELECT FROM dash_dead_letters) AS has_dead_letters
FROM dash_sentiment_hourly
"""
SOURCES = """
SELECT source AS name
FROM dash_sentiment_hourly
GROUP BY source
ORDER BY sum(items) DESC, source
LIMIT 500
"""
TEAMS = """
SELECT DISTINCT team AS name
FROM dash_routing_by_team
ORDER BY team
LIMIT 500
"""
ALERTS = """
SELECT measure, task, model, model_version, value, bound, message, created_at
FROM dash_alerts
WHERE open
ORDER BY created_at DESC
LIMIT 20
"""
