"""The connections that plots are read with: read only, and with the rights of the role for dashboards."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, event

from schemas.database import make_engine
from schemas.names import DASHBOARD_ROLE
from schemas.settings import Settings

_MAY_BECOME = "SELECT pg_has_role(oid, 'SET') FROM pg_roles WHERE rolname = %s"


def make_reader(settings: Settings, *, statement_timeout_s: int) -> Engine:
    """An engine whose transactions can change nothing.

    Where the role for dashboards exists and our account may take it, nothing but the views can be read either.
    """
    engine = make_engine(settings, statement_timeout_s=statement_timeout_s)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('default_transaction_read_only', 'on', false)")
            cursor.execute(_MAY_BECOME, [DASHBOARD_ROLE])
            found = cursor.fetchone()
            if found and found[0]:
                cursor.execute("SELECT set_config('role', %s, false)", [DASHBOARD_ROLE])
        connection.autocommit = False

    return engine
