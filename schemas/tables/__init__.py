"""Every Postgres table, declared once: `metadata` and the tables by name.

One module per noun: items and what was predicted for them, routing, delivery, quality, people, operation, rollups.
Nothing here connects or queries; the same schema is made by `migrations`, and a test holds the two together. The views
named `dash_*` exist in `migrations` alone.
"""

from schemas.tables.columns import metadata
from schemas.tables.delivery import deliveries, outbox, webhooks
from schemas.tables.items import dead_letters, items, predictions
from schemas.tables.operation import api_keys, backfills, models, schedules
from schemas.tables.people import sessions, users
from schemas.tables.quality import alerts, evaluations, reviews
from schemas.tables.rollups import (
    rollup_latency,
    rollup_percentiles,
    rollup_routing,
    rollup_sentiment,
    rollup_throughput,
)
from schemas.tables.routing import assignment_events, assignments, route_sets, routes

__all__ = [
    "alerts",
    "api_keys",
    "assignment_events",
    "assignments",
    "backfills",
    "dead_letters",
    "deliveries",
    "evaluations",
    "items",
    "metadata",
    "models",
    "outbox",
    "predictions",
    "reviews",
    "rollup_latency",
    "rollup_percentiles",
    "rollup_routing",
    "rollup_sentiment",
    "rollup_throughput",
    "route_sets",
    "routes",
    "schedules",
    "sessions",
    "users",
    "webhooks",
]
