"""`fenliu migrate`: bring the database's schema up to date."""

from __future__ import annotations

import typer

from schemas.settings import load_settings
from schemas.stack import connected


def migrate() -> None:
    """Bring the database's schema up to date. Safe to repeat, and from several machines at once."""
    from worker import migrate as schema

    changed = schema.migrate(connected(load_settings()))
    typer.echo("the schema is up to date now" if changed else "the schema was up to date")
