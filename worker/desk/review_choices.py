"""What reviewers can narrow the queue to: the sources and teams that exist. Reads only."""

from __future__ import annotations

from sqlalchemy import Engine, select, text

from schemas.database import translated
from schemas.tables import route_sets, routes

_MOST_SOURCES = 200

# One step of the index per source, however many items each has.
_SOURCES = text("""
    WITH RECURSIVE known (source, number) AS (
        (SELECT source, 1 FROM items ORDER BY source LIMIT 1)
        UNION ALL
        SELECT (SELECT i.source FROM items i WHERE i.source > known.source ORDER BY i.source LIMIT 1), number + 1
        FROM known WHERE known.source IS NOT NULL AND number < :most
    )
    SELECT source FROM known WHERE source IS NOT NULL
""")


def sources(engine: Engine) -> list[str]:
    """Up to 200 sources of items, in order. Raises DatabaseUnavailableError."""
    with translated(), engine.connect() as connection:
        return list(connection.scalars(_SOURCES, {"most": _MOST_SOURCES}))


def teams(engine: Engine) -> list[str]:
    """The teams of every current route set, in order. Raises DatabaseUnavailableError."""
    of_current = (routes.c.route_set == route_sets.c.name) & (routes.c.version == route_sets.c.version)
    query = select(routes.c.team).join(route_sets, of_current).where(route_sets.c.current).distinct()
    with translated(), engine.connect() as connection:
        return sorted(connection.scalars(query))
