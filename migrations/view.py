"""What a migration needs to create or drop a view that describes itself in the database."""

from __future__ import annotations

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
        """Create it, with a comment on it and on each column."""
        op.execute(f"CREATE VIEW {self.name} AS {self.query}")
        op.execute(f"COMMENT ON VIEW {self.name} IS {_literal(self.about)}")
        for column, about in self.columns.items():
            op.execute(f"COMMENT ON COLUMN {self.name}.{column} IS {_literal(about)}")

    def drop(self) -> None:
        """Drop it."""
        op.execute(f"DROP VIEW {self.name}")


def _literal(constant: str) -> str:
    """A constant of a migration as SQL; COMMENT takes no parameters. A colon would mark a parameter."""
    return "'" + constant.replace("'", "''").replace(":", "\\:") + "'"
