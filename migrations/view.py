"""What a migration needs to create or drop a view that describes itself in the database."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

from alembic import op


@dataclass(frozen=True)
class View:
    """A view, what it is for, what each of its columns means, and its query."""

    name: str
    about: str
    columns: dict[str, str]
    query: str

    def create(self) -> None:
        """Create it, with a comment on it and on each column.

        A view that is there is replaced, and who may read it stays: its columns must come first, with their types.
        """
        op.execute(f"CREATE OR REPLACE VIEW {self.name} AS {self.query}")
        op.execute(f"COMMENT ON VIEW {self.name} IS {_literal(self.about)}")
        for column, about in self.columns.items():
            op.execute(f"COMMENT ON COLUMN {self.name}.{column} IS {_literal(about)}")

    def drop(self) -> None:
        """Drop it."""
        op.execute(f"DROP VIEW {self.name}")


def views_of(migration: str) -> tuple[View, ...]:
    """The views of another migration, by the name of its module."""
    views: tuple[View, ...] = importlib.import_module(f"migrations.versions.{migration}").VIEWS
    return views


def _literal(constant: str) -> str:
    """A constant of a migration as SQL; COMMENT takes no parameters. A colon would mark a parameter."""
    return "'" + constant.replace("'", "''").replace(":", "\\:") + "'"
