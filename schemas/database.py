"""The way to Postgres: the engine, and database errors as Fenliu's own.

What is asked of it is each caller's matter; the tables are in `schemas.tables`, made by `worker.migrate`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
from sqlalchemy import Engine, Pool, create_engine, event
from sqlalchemy.exc import DBAPIError, InvalidatePoolError, PendingRollbackError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from schemas.answering import Answered, AnsweredCursor
from schemas.errors import DatabaseUnavailableError, RowRefusedError
from schemas.settings import Settings

_STATEMENT_TIMEOUT_S = 30
_LOCK_TIMEOUT_S = 10
_IDLE_IN_TRANSACTION_S = 120
_POOL_TIMEOUT_S = 10
_LATE_S = 5
_FRESH_S = 1.0
"""A connection that was used so shortly before is taken as it is."""

# SQLSTATE classes that speak of the row's content: cardinality, data, integrity, WITH CHECK OPTION,
# program limits (an index entry that is too large), and errors raised by triggers.
_CLASSES_OF_CONTENT = frozenset(["21", "22", "23", "44", "54", "P0"])
_STATES_OF_SCHEMA = frozenset(["42P01", "42703", "3F000"])


def make_engine(
    settings: Settings,
    *,
    poolclass: type[Pool] | None = None,
    statement_timeout_s: int = _STATEMENT_TIMEOUT_S,
) -> Engine:
    """An engine on `settings.database_url`, with a connection for every slot and a few more.

    Connections that have rested check themselves before use. All see within seconds that their answer has got lost and
    within half a minute that the peer is dead, work in UTC, and give up a statement after `statement_timeout_s` (0:
    never). Nothing is opened before the first use.
    """
    pool: dict[str, Any] = (
        {"poolclass": poolclass}
        if poolclass
        else {
            "pool_size": settings.slots_at_once + 2,
            "max_overflow": 5,
            "pool_timeout": _POOL_TIMEOUT_S,
        }
    )
    engine = create_engine(
        settings.sqlalchemy_url,
        connect_args={
            "connect_timeout": 5,
            "keepalives": 1,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 25_000,
            "application_name": "fenliu",
            "client_encoding": "utf8",
            "connection_factory": Answered,
            "cursor_factory": AnsweredCursor,
        },
        hide_parameters=True,  # they hold people's texts, and errors end up in logs
        **pool,
    )

    # Not by libpq's `options`, which connection poolers refuse.
    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.longest_s = statement_timeout_s + _LATE_S if statement_timeout_s else 0.0
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('timezone', 'UTC', false), set_config('statement_timeout', %s, false),"
                " set_config('lock_timeout', %s, false), set_config('idle_in_transaction_session_timeout', %s, false)",
                [f"{statement_timeout_s}s", f"{_LOCK_TIMEOUT_S}s", f"{_IDLE_IN_TRANSACTION_S}s"],
            )
        connection.autocommit = False

    # As the pool's pre-ping, which asks the server each time: a trip that a single text waits for.
    @event.listens_for(engine, "checkin")
    def _note_use(_connection: Any, record: Any) -> None:
        record.info["used_s"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _check(connection: Any, record: Any, _proxy: Any) -> None:
        now_s = time.monotonic()
        if now_s - record.info.get("used_s", now_s) < _FRESH_S:
            return
        try:
            engine.dialect.do_ping(connection)
        except psycopg2.Error as error:
            raise InvalidatePoolError from error

    return engine


@contextmanager
def translated() -> Iterator[None]:
    """Raise what the database says as RowRefusedError or DatabaseUnavailableError.

    Refused is only what speaks of a row's content. All else, a missing table or privilege too, is no fault of
    the rows: it may be mended while they wait.
    """
    try:
        yield
    except DBAPIError as error:
        raise _translation(error.orig, error.connection_invalidated) from error
    except psycopg2.Error as error:
        raise _translation(error, lost=False) from error
    except (PoolTimeoutError, PendingRollbackError) as error:
        raise DatabaseUnavailableError(str(error)) from error
    except UnicodeEncodeError as error:
        raise RowRefusedError(f"half of a surrogate pair cannot be stored ({error.reason})") from error
    except ValueError as error:
        # The driver's own check of strings, made before anything is sent.
        if "NUL (0x00)" not in str(error):
            raise
        raise RowRefusedError(str(error)) from error


def _translation(error: BaseException | None, lost: bool) -> RowRefusedError | DatabaseUnavailableError:
    state = getattr(error, "pgcode", None) or ""
    message = _first_line(error)
    if not lost and state[:2] in _CLASSES_OF_CONTENT:
        return RowRefusedError(f"{message} (SQLSTATE {state})")
    if state:
        message += f" (SQLSTATE {state})"
    if state in _STATES_OF_SCHEMA:
        message += "; is the schema up to date? run `fenliu migrate`"
    return DatabaseUnavailableError(message)


def _first_line(error: BaseException | None) -> str:
    """The message without statement, parameters and detail, which may hold people's texts."""
    primary = getattr(getattr(error, "diag", None), "message_primary", None)
    return str(primary or (str(error).strip().splitlines() or [type(error).__name__])[0])
