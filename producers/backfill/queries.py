"""Rows of a query on any database that SQLAlchemy speaks to, in the order of a unique key."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, bindparam, column, create_engine, func, literal_column, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from producers.backfill.feed import Fed
from producers.backfill.options import Options
from producers.backfill.shape import Shape
from schemas.errors import DatabaseUnavailableError, EntryError, SetupError, SourceError
from schemas.settings import mask_url

_FETCHED_ROWS = 1000
_KEY_TYPES: dict[str, Callable[[Any], Any]] = {
    "int": int,
    "str": str,
    "decimal": Decimal,
    "uuid": UUID,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
}


class QueryFeed:
    """The rows of `options.query` after a key. Read through a cursor on the server, a thousand rows at a time.

    A place is the key of the last row. Raises SetupError for a URL that cannot be used.
    """

    keeps_read_time = False
    file = None
    share_read = None

    def __init__(self, options: Options, url: str) -> None:
        self._options = options
        self._key = options.key
        self._engine, self._secrets = _engine(url)
        self._dialect = self._engine.dialect.name

    def rows(self, place: Mapping[str, Any], shape: Shape) -> Iterator[Fed]:
        """The rows whose key is greater than that of `place`, in its order."""
        columns = self._options.columns
        known: dict[str, str | None] = {}
        options: dict[str, Any] = {"stream_results": True, "max_row_buffer": _FETCHED_ROWS}
        if self._dialect == "postgresql":
            options["postgresql_readonly"] = True
        before = None
        try:
            with _interruptible(self._engine), self._engine.connect().execution_options(**options) as connection:
                self._check_key(connection, place)
                result = connection.execute(self._statement(place)).yield_per(_FETCHED_ROWS)
                names = list(result.keys())
                columns.check("the query", names)
                if self._key not in names:
                    raise SourceError(f"the query has no column {self._key!r} (columns: {', '.join(names)})")
                at = names.index(self._key)
                for number, row in enumerate(result, 1):
                    key = row[at]
                    if key == before:
                        raise self._twice(key)
                    before = key
                    try:
                        values = dict(zip(names, row, strict=True))
                        yield Fed(key, "", shape.entry(columns.fields("query", number, values, known)), None)
                    except EntryError as error:
                        yield Fed(key, f"{self._key} {key}", None, error)
        except SQLAlchemyError as error:
            raise self._translated(error) from None  # the driver's own message may hold the password

    def place(self, mark: Any) -> dict[str, Any]:
        """The key, with its type."""
        return key_to_json(self._key, mark)

    def total(self) -> int | None:
        """Counted by the database."""
        statement = select(func.count()).select_from(self._subquery())
        try:
            with self._engine.connect() as connection:
                return int(connection.execute(statement).scalar_one())
        except SQLAlchemyError as error:
            raise self._translated(error) from None

    def close(self) -> None:
        """Close the connection."""
        self._engine.dispose()

    def _subquery(self) -> Any:
        query = self._options.query.strip().rstrip(";")
        escaped = re.sub(r":(?=\w)", r"\\:", query)  # text() would take :name for a parameter
        return text(f"{escaped}\n").columns(column(self._key)).subquery("wanted")

    def _statement(self, place: Mapping[str, Any]) -> Any:
        wanted = self._subquery()
        key = wanted.c[self._key]
        statement: Any = select(literal_column("wanted.*")).select_from(wanted).order_by(key)
        last = key_from_json(place)
        return statement if last is None else statement.where(key > bindparam("last", last))

    def _check_key(self, connection: Connection, place: Mapping[str, Any]) -> None:
        """Raise SourceError if `key > last` would pass rows over that have not been read.

        The database is asked, for it decides what is equal: it may take a and A as one key.
        """
        wanted = self._subquery()
        key = wanted.c[self._key]
        last = key_from_json(place)
        if last is None:
            if connection.execute(select(key).where(key.is_(None)).limit(1)).first() is not None:
                raise SourceError(
                    f"the key {self._key} is NULL in some rows: choose another --key, or leave them out with "
                    f"WHERE {self._key} IS NOT NULL"
                )
        elif len(connection.execute(select(key).where(key == bindparam("last", last)).limit(2)).all()) > 1:
            raise self._twice(last)

    def _twice(self, key: Any) -> SourceError:
        return SourceError(f"the key {self._key} is {key!r} twice: --key must be unique, as the database compares")

    def _translated(self, error: SQLAlchemyError) -> SourceError | DatabaseUnavailableError:
        origin = error.orig if isinstance(error, DBAPIError) else error
        said = (str(origin).strip().splitlines() or [type(error).__name__])[0]
        for secret in self._secrets:
            said = said.replace(secret, "****")
        lost = isinstance(error, DBAPIError) and (error.connection_invalidated or _is_away(error))
        return (DatabaseUnavailableError if lost else SourceError)(f"the source database says: {said}")


def shown_url(url: str) -> str:
    """A URL without its password. Raises SetupError if it is none."""
    return mask_url(_parsed(url).render_as_string(hide_password=True))


def key_to_json(name: str, key: Any) -> dict[str, Any]:
    """A key as JSON. Raises SourceError for a type that has no order to go on from."""
    kind = type(key).__name__.lower()
    if kind not in _KEY_TYPES:
        raise SourceError(f"the key {name} is a {type(key).__name__}; use an integer, decimal, text, time or UUID")
    if kind == "int":
        return {"key": key, "type": kind}
    return {"key": key.isoformat() if isinstance(key, date) else str(key), "type": kind}


def key_from_json(place: Mapping[str, Any]) -> Any:
    """The key that `key_to_json` wrote; None at the beginning."""
    return _KEY_TYPES[place["type"]](place["key"]) if place else None


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise SetupError("the database URL cannot be read; write it as postgresql://user@host/name") from None
    if "@" in (parsed.host or ""):
        raise SetupError("the database URL has more than one @: write those of the password as %40")
    if parsed.drivername in {"postgresql", "postgres"}:
        return parsed.set(drivername="postgresql+psycopg2")
    return parsed


def _engine(url: str) -> tuple[Engine, list[str]]:
    parsed = _parsed(url)
    secrets = [str(value) for value in (parsed.password, parsed.query.get("password")) if value]
    try:
        return create_engine(parsed, poolclass=NullPool), secrets
    except NoSuchModuleError:
        raise SetupError(f"no database is called {parsed.drivername!r}; such as postgresql or sqlite is") from None
    except ModuleNotFoundError as error:
        raise SetupError(f"this database needs the package {error.name}: install it beside Fenliu") from None


@contextmanager
def _interruptible(engine: Engine) -> Iterator[None]:
    """Let signals in while psycopg2 waits for the server, which it otherwise does out of Python's reach."""
    if engine.driver != "psycopg2":
        yield
        return
    from psycopg2.extensions import get_wait_callback, set_wait_callback
    from psycopg2.extras import wait_select

    before = get_wait_callback()
    set_wait_callback(wait_select)
    try:
        yield
    finally:
        set_wait_callback(before)


def _is_away(error: DBAPIError) -> bool:
    """Refused, shut down or cut off, as PostgreSQL and others tell it."""
    state = getattr(error.orig, "pgcode", None)
    if state is not None:
        return str(state)[:2] in {"08", "57", "53", "40"}
    said = str(error.orig).lower()
    if any(word in said for word in ("authentication", "does not exist", "denied")):
        return False  # a connection that will not come, however often it is tried
    return type(error).__name__ in {"OperationalError", "InterfaceError"} and any(
        word in said for word in ("connect", "closed", "refused", "timeout", "timed out", "locked", "terminat", "gone")
    )
