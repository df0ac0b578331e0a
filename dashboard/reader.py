"""The connections that plots are read with: transactions are read only and have the rights of the role for dashboards.

What this guards against is our own mistakes. It is no wall against foreign SQL, which could begin a transaction of
another kind and take back the account's own rights (RESET ROLE): statements are constants of our code, and values go
beside them as parameters. Programs that let people write SQL get an account of their own (docs/access.md).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, event

from schemas.database import make_engine
from schemas.names import DASHBOARD_ROLE
from schemas.settings import Settings

_MAY_BECOME = "SELECT pg_has_role(oid, %s) FROM pg_roles WHERE rolname = %s"
_KNOWS_SET = 160_000
_ROLE = "fenliu_role"

# For the transaction alone, and not for the session: poolers hand sessions from one client to the next. A transaction
# that has begun to read, as it has with this, cannot be made one that writes.
_READ_ONLY = "SELECT set_config('transaction_read_only', 'on', true)"
_AND_ROLE = ", set_config('role', %s, true)"


def make_reader(settings: Settings, *, statement_timeout_s: int) -> Engine:
    """An engine whose transactions can change nothing.

    Where the role for dashboards exists and our account may take it, nothing but the views can be read either; else
    all that the account may read.
    """
    engine = make_engine(settings, statement_timeout_s=statement_timeout_s)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, record: Any) -> None:
        # Before PostgreSQL 16, every member of a role may take it.
        privilege = "SET" if connection.server_version >= _KNOWS_SET else "MEMBER"
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(_MAY_BECOME, [privilege, DASHBOARD_ROLE])
            found = cursor.fetchone()
        connection.autocommit = False
        record.info[_ROLE] = bool(found and found[0])

    @event.listens_for(engine, "begin")
    def _restrict(connection: Connection) -> None:
        if connection.info[_ROLE]:
            connection.exec_driver_sql(_READ_ONLY + _AND_ROLE, (DASHBOARD_ROLE,))
        else:
            connection.exec_driver_sql(_READ_ONLY)

    return engine
