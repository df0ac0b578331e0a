"""The rights that plots are read with: the views for dashboards, and nothing that changes anything."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, make_url, text
from sqlalchemy.exc import DBAPIError

from dashboard.reader import make_reader
from schemas.database import make_engine
from schemas.names import DASHBOARD_ROLE
from schemas.settings import Settings
from tests.conftest import TestStack
from worker.migrate import migrate

VIEWS_THERE = text("SELECT viewname FROM pg_views WHERE schemaname = 'public' AND viewname LIKE 'dash\\_%'")


@contextmanager
def reading(settings: Settings, timeout_s: int = 15) -> Iterator[Engine]:
    reader = make_reader(settings, statement_timeout_s=timeout_s)
    yield reader
    reader.dispose()


def views(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return sorted(connection.execute(VIEWS_THERE).scalars())


def refusal(reader: Engine, statement: str) -> str:
    """The SQLSTATE with which a statement is refused; empty if it is not."""
    try:
        with reader.begin() as connection:
            connection.execute(text(statement))
    except DBAPIError as error:
        return str(getattr(error.orig, "pgcode", None))
    return ""


def test_plots_read_every_view_and_no_table(settings: Settings, engine: Engine) -> None:
    with reading(settings) as reader:
        # Given the role for dashboards, every view can be read, also from a connection used before
        for view in views(engine) * 2:
            assert "" == refusal(reader, f"SELECT * FROM {view}"), view
        # and what lies under the views cannot, nor what is secret
        for table in ("items", "predictions", "users", "sessions", "api_keys"):
            assert "42501" == refusal(reader, f"SELECT * FROM {table}"), table
        with reader.connect() as connection:
            assert DASHBOARD_ROLE == connection.execute(text("SELECT current_user")).scalar()


def test_nothing_can_be_changed_even_with_the_accounts_own_rights(settings: Settings) -> None:
    with reading(settings) as reader:
        assert "25006" == refusal(reader, "CREATE TABLE mine (id int)")
        # RESET ROLE gives the account's rights back, as it must; the transaction still writes nothing
        assert "25006" == refusal(reader, "RESET ROLE; DELETE FROM items")
        assert "25001" == refusal(reader, "RESET ROLE; SET TRANSACTION READ WRITE")
        # and the next transaction has the role again
        assert "42501" == refusal(reader, "SELECT * FROM users")


def test_nothing_of_it_stays_on_the_connection(settings: Settings, stack: TestStack) -> None:
    # Given a session that goes to somebody else after a transaction, as poolers do it
    with reading(settings) as reader, reader.connect() as connection:
        connection.execute(text("SELECT count(*) FROM dash_current"))
        connection.rollback()
        raw = connection.connection.dbapi_connection
        assert raw is not None
        cursor = raw.cursor()
        cursor.execute("SELECT current_user = session_user, current_setting('transaction_read_only')")
        assert (True, "off") == cursor.fetchone()


def test_a_long_statement_is_ended(settings: Settings) -> None:
    with reading(settings, timeout_s=1) as reader:
        assert "57014" == refusal(reader, "SELECT pg_sleep(30)")


# --- accounts with fewer rights --------------------------------------------------------------------------------------


@contextmanager
def account(stack: TestStack, settings: Settings, *rights: str) -> Iterator[Settings]:
    """Settings with an account that owns an empty database and has these rights and no others."""
    name = f"account_{uuid.uuid4().hex[:12]}"
    stack.sql(f"CREATE ROLE {name} LOGIN PASSWORD 'x' {' '.join(rights)}")
    stack.sql(f"CREATE DATABASE {name} OWNER {name}")
    url = make_url(stack.postgres.url_of(name)).set(username=name, password="x")
    try:
        yield settings.model_copy(update={"database_url": url.render_as_string(hide_password=False)})
    finally:
        stack.sql(f"DROP DATABASE {name} WITH (FORCE)")
        stack.sql(f"DROP ROLE {name}")


@contextmanager
def no_role(stack: TestStack) -> Iterator[None]:
    """A cluster on which the role for dashboards was never made."""
    stack.sql(f"ALTER ROLE {DASHBOARD_ROLE} RENAME TO fenliu_aside")
    try:
        yield
    finally:
        stack.sql(f"DROP ROLE IF EXISTS {DASHBOARD_ROLE}")
        stack.sql(f"ALTER ROLE fenliu_aside RENAME TO {DASHBOARD_ROLE}")


def who_reads(settings: Settings) -> str:
    """Under which name views are read, after each was."""
    engine = make_engine(settings)
    found = views(engine)
    assert found
    engine.dispose()
    with reading(settings) as reader:
        for view in found:
            assert "" == refusal(reader, f"SELECT * FROM {view}"), view
        assert "25006" == refusal(reader, "RESET ROLE; DELETE FROM items")
        with reader.connect() as connection:
            return str(connection.execute(text("SELECT current_user")).scalar())


def test_an_account_that_may_make_no_roles_migrates_and_reads_as_itself(settings: Settings, stack: TestStack) -> None:
    with no_role(stack), account(stack, settings) as limited:
        migrate(limited)
        assert make_url(limited.database_url).username == who_reads(limited)


def test_a_role_that_somebody_else_made_is_given_the_views(settings: Settings, stack: TestStack) -> None:
    with account(stack, settings) as limited:
        # Given a role of another database that this account may not take
        migrate(limited)
        assert make_url(limited.database_url).username == who_reads(limited)
        # When an administrator lets it
        stack.sql(f"GRANT {DASHBOARD_ROLE} TO {make_url(limited.database_url).username}")
        assert DASHBOARD_ROLE == who_reads(limited)


def test_an_account_that_makes_the_role_may_take_it(settings: Settings, stack: TestStack) -> None:
    with no_role(stack), account(stack, settings, "CREATEROLE") as limited:
        migrate(limited)
        assert DASHBOARD_ROLE == who_reads(limited)
        _give_back(limited)


def _give_back(settings: Settings) -> None:
    """Drop what the account has made, so that the role can go."""
    engine = make_engine(settings)
    with engine.begin() as connection:
        connection.execute(text(f"DROP OWNED BY {DASHBOARD_ROLE}"))
    engine.dispose()


def test_an_account_of_a_dashboard_program_inherits_the_views(settings: Settings, stack: TestStack) -> None:
    # Given an account for Grafana, as docs/access.md has it made
    name = f"grafana_{uuid.uuid4().hex[:12]}"
    stack.sql(f"CREATE ROLE {name} LOGIN PASSWORD 'x' IN ROLE {DASHBOARD_ROLE}")
    try:
        url = make_url(settings.database_url).set(username=name, password="x")
        engine = make_engine(settings.model_copy(update={"database_url": url.render_as_string(hide_password=False)}))
        # then it reads the views and no table, whatever it tries
        assert "" == refusal(engine, "SELECT * FROM dash_current")
        assert "42501" == refusal(engine, "RESET ROLE; SELECT * FROM users")
        assert "42501" == refusal(engine, "CREATE TABLE mine (id int)")
        engine.dispose()
    finally:
        stack.sql(f"DROP ROLE {name}")
