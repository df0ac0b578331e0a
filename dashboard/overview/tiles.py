"""The figures on top of the dashboard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from dashboard.words import Words, later

STATEMENT = """
SELECT items, negative, low_confidence, tickets, triage, dead_letters
FROM (
    SELECT coalesce(sum(items), 0)::bigint AS items,
           coalesce(sum(items) FILTER (WHERE label = 'negative'), 0)::bigint AS negative,
           coalesce(sum(low_confidence), 0)::bigint AS low_confidence
    FROM dash_sentiment_hourly
    WHERE true
      AND hour >= %(begin)s
      AND hour < %(end)s
      AND source = %(source)s
) AS sentiment
CROSS JOIN (
    SELECT coalesce(sum(tickets), 0)::bigint AS tickets,
           coalesce(sum(tickets) FILTER (WHERE status = 'triage'), 0)::bigint AS triage
    FROM dash_routing_by_team
    WHERE true
      AND hour >= %(begin)s
      AND hour < %(end)s
      AND source = %(source)s
      AND team = %(team)s
) AS routing
CROSS JOIN (
    SELECT count(*) AS dead_letters
    FROM dash_dead_letters
    WHERE waiting
      AND created_at >= %(begin)s
      AND created_at < %(end)s
      AND source = %(source)s
      AND lane = %(lane)s
) AS dead
"""


@dataclass(frozen=True, slots=True)
class Tile:
    """A figure, what it is, and what it is a part of."""

    name: str
    value: str
    of: str
    is_bad: bool = False


def tiles(row: Row[Any], words: Words) -> Iterator[Tile]:
    """The figures of the row that STATEMENT gives."""
    yield Tile(words(later("Items")), words.number(row.items), "")
    yield _share(words(later("Negative")), row.negative, row.items, words)
    of_tickets = words("of %(whole)s", whole=words.number(row.tickets))
    yield Tile(words(later("Tickets in triage")), words.number(row.triage), of_tickets)
    yield _share(words(later("Low confidence")), row.low_confidence, row.items, words)
    yield Tile(words(later("Dead letters waiting")), words.number(row.dead_letters), "", row.dead_letters > 0)


def _share(name: str, part: int, whole: int, words: Words) -> Tile:
    return Tile(
        name,
        words.percent(part / whole, 1) if whole else "–",
        words("%(part)s of %(whole)s", part=words.number(part), whole=words.number(whole)),
    )
