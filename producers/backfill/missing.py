"""Which rows have a result already, so that `--only-missing` passes them over."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from sqlalchemy import Engine, text

from producers.backfill.shape import source_of, tasks_of
from schemas.database import translated

_JOIN = """
    SELECT source, item_id, task
    FROM (SELECT DISTINCT * FROM unnest(CAST(:sources AS text[]), CAST(:ids AS text[])) AS w (source, item_id)) AS w
    JOIN predictions USING (source, item_id)
"""
_CURRENT = text(f"{_JOIN} WHERE current")
_BY_MODEL = text(f"{_JOIN} WHERE model = :model AND (CAST(:version AS text) IS NULL OR model_version = :version)")


def without_results(engine: Engine, entries: Sequence[dict[str, str]], model: str | None) -> list[dict[str, str]]:
    """Those of `entries` that lack a result of a task they ask for: a current one, or one of `model`.

    `model` is a name, or name/version. Raises DatabaseUnavailableError.
    """
    if not entries:
        return []
    name, _, version = (model or "").partition("/")
    asked = {"sources": [source_of(entry) for entry in entries], "ids": [entry["id"] for entry in entries]}
    found: Mapping[tuple[str, str], set[str]] = defaultdict(set)
    with translated(), engine.connect() as connection:
        statement = _BY_MODEL if model else _CURRENT
        more = {"model": name, "version": version or None} if model else {}
        for source, item_id, task in connection.execute(statement, asked | more):
            found[source, item_id].add(task)
    return [entry for entry in entries if not tasks_of(entry) <= found.get((source_of(entry), entry["id"]), set())]
