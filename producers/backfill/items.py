"""Fenliu's own items once more: to score old rows with another model, or for a task they were not asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Engine, text

from producers.backfill.feed import Fed
from producers.backfill.options import Options
from producers.backfill.shape import Shape
from schemas.database import translated
from schemas.errors import EntryError

_PAGE_ROWS = 1000

_WANTED = """
    state <> 'dead' AND (CAST(:source AS text) IS NULL OR source = :source)
    AND (CAST(:kind AS text) IS NULL OR kind = :kind)
"""
_PAGE = text(f"""
    SELECT source, item_id, kind, text, created_at, updated_at, meta FROM items
    WHERE (source, item_id) > (:after_source, :after_id) AND {_WANTED}
    ORDER BY source, item_id LIMIT {_PAGE_ROWS}
""")  # noqa: S608 - constants
_COUNT = text(f"SELECT count(*) FROM items WHERE {_WANTED}")  # noqa: S608


class ItemsFeed:
    """Every item that is not dead, in the order of its identity, page by page, with its own times.

    An entry carries the item's own `updated_at`: the same text again, so an edit since then stays the newer.
    A place is the identity of the last item.
    """

    keeps_read_time = False
    file = None

    def __init__(self, options: Options, engine: Engine) -> None:
        self._engine = engine
        self._chosen = {"source": options.source, "kind": options.kind}

    def rows(self, place: Mapping[str, Any], shape: Shape) -> Iterator[Fed]:
        """The items after `place`. Raises DatabaseUnavailableError."""
        source, item_id = place.get("source", ""), place.get("item_id", "")
        while True:
            after = {"after_source": source, "after_id": item_id}
            with translated(), self._engine.connect() as connection:
                page = connection.execute(_PAGE, after | self._chosen).all()
            for row in page:
                source, item_id = row.source, row.item_id
                fields = {
                    "id": item_id, "text": row.text, "source": source, "kind": row.kind,
                    "created_at": row.created_at, "updated_at": row.updated_at, "meta": row.meta or None,
                }  # fmt: skip
                try:
                    yield Fed((source, item_id), "", shape.entry(fields), None)
                except EntryError as error:
                    yield Fed((source, item_id), f"{source} {item_id}", None, error)
            if len(page) < _PAGE_ROWS:
                return

    def place(self, mark: Any) -> dict[str, Any]:
        """The identity."""
        return {"source": mark[0], "item_id": mark[1]}

    def total(self) -> int | None:
        """Counted by the database."""
        with translated(), self._engine.connect() as connection:
            return int(connection.execute(_COUNT, self._chosen).scalar_one())

    @property
    def share_read(self) -> float | None:
        """Known by the total alone."""
        return None

    def close(self) -> None:
        """The engine is the caller's."""
