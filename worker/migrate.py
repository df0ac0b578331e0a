"""Bring the database's schema up to date. What each step does is in `migrations`."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, NullPool, text

import migrations
from schemas.database import make_engine, translated
from schemas.errors import SetupError
from schemas.names import ADVISORY_LOCK_MIGRATE
from schemas.settings import Settings

_LOCK_WAIT_MS = 600_000


def migrate(settings: Settings) -> bool:
    """Bring the schema up to date; whether there was anything to do.

    Safe to call from many processes at once: one works, the others wait for it. Raises DatabaseUnavailableError,
    and SetupError when the database has been migrated by a newer Fenliu.
    """
    engine = make_engine(settings, poolclass=NullPool, statement_timeout_s=0)
    with translated(), engine.connect() as connection:
        head = ScriptDirectory.from_config(alembic_config(connection)).get_current_head()
        if _revision(connection) == head:
            return False
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as guard:
            guard.execute(text("SELECT set_config('lock_timeout', :ms, false)"), {"ms": str(_LOCK_WAIT_MS)})
            # Held by the session, and so given back when the connection closes, whatever happens.
            guard.execute(text("SELECT pg_advisory_lock(:key)"), {"key": ADVISORY_LOCK_MIGRATE})
            if _revision(connection) == head:
                return False
            try:
                command.upgrade(alembic_config(connection), "head")
            except CommandError as error:
                raise SetupError(
                    f"the database's schema is not one this version of Fenliu knows ({error}); "
                    "was it migrated by a newer one?"
                ) from error
            return True


def alembic_config(connection: Connection) -> Config:
    """Alembic's configuration for our migrations on `connection`."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _revision(connection: Connection) -> str | None:
    revision = MigrationContext.configure(connection).get_current_revision()
    connection.rollback()
    return revision
