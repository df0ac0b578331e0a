"""The migrated schema is the declared one, both ways, and every view says what it is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Engine, text

from migrations.view import View
from schemas.database import make_engine
from schemas.errors import DatabaseUnavailableError, FenliuError, SetupError
from schemas.settings import Settings
from schemas.tables import metadata
from tests.integration.outcomes import comment, ticket
from worker.migrate import alembic_config, migrate
from worker.sink import Sink

VIEWS = {
    "dash_current",
    "dash_sentiment_hourly",
    "dash_sentiment_by_source",
    "dash_routing_by_team",
    "dash_low_confidence",
    "dash_latency",
    "dash_throughput",
    "dash_dead_letters",
    "dash_alerts",
}

# Everything that a table is made of, as the server itself describes it.
DESCRIPTION = {
    "columns": """
        SELECT table_name, column_name, data_type, numeric_precision, numeric_scale, is_nullable, column_default,
               is_identity, identity_generation
        FROM information_schema.columns WHERE table_schema = 'public'
    """,
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace
    """,
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
}
# What tables do not declare, and migrations alone make.
BEHAVIOUR = {
    "triggers": """
        SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
    """,
    "functions": """
        SELECT proname, pg_get_functiondef(oid), obj_description(oid, 'pg_proc') FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace
    """,
    "views": """
        SELECT viewname, definition, obj_description(viewname::text::regclass) FROM pg_views
        WHERE schemaname = 'public'
    """,
}
SUMMED = ("items", "predictions", "assignments")
ROLLUPS = {name for name in metadata.tables if name.startswith("rollup_")}
ALEMBIC_TABLE = "alembic_version"


@pytest.fixture
def bare(settings: Settings) -> Iterator[Engine]:
    """An engine on a database in which nothing has been made."""
    engine = make_engine(settings)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    yield engine
    engine.dispose()


def test_migrations_make_what_the_tables_declare(engine: Engine) -> None:
    # Given a migrated database
    with engine.connect() as connection:
        # when Alembic looks for what is missing or too much
        differences = compare_metadata(MigrationContext.configure(connection), metadata)

    # then there is nothing
    assert [] == differences


def test_checks_defaults_and_indexes_are_the_declared_ones_too(engine: Engine, bare: Engine) -> None:
    # Given a database made from the declared tables, where Alembic compares neither checks nor index predicates
    metadata.create_all(bare)
    declared = description_of(bare)
    with bare.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))

    # when the same database is migrated instead
    with bare.connect() as connection:
        command.upgrade(alembic_config(connection), "head")
    migrated = description_of(bare)

    # then the server describes both alike
    for what, rows in declared.items():
        assert rows
        assert rows == migrated[what], what


def test_every_step_can_be_taken_back_and_again(engine: Engine) -> None:
    # Given a migrated database
    before, behaviour = description_of(engine), behaviour_of(engine)
    assert all(behaviour.values())

    # when everything is taken back
    with engine.connect() as connection:
        command.downgrade(alembic_config(connection), "base")

    # then nothing of ours is left, and migrating again makes the same
    assert {"columns": set(), "constraints": set(), "indexes": set()} == description_of(engine)
    assert {"triggers": set(), "functions": set(), "views": set()} == behaviour_of(engine)
    with engine.connect() as connection:
        command.upgrade(alembic_config(connection), "head")
    assert before == description_of(engine)
    assert behaviour == behaviour_of(engine)


def test_one_step_back_brings_the_views_of_before(engine: Engine, bare: Engine) -> None:
    # Given the database as it was before the rollups
    with bare.connect() as connection:
        command.upgrade(alembic_config(connection), "0003")
    before, behaviour = description_of(bare), behaviour_of(bare)

    # when they come and go
    with bare.connect() as connection:
        command.upgrade(alembic_config(connection), "0004")
        assert behaviour != behaviour_of(bare)
        command.downgrade(alembic_config(connection), "0003")

    # then all is as it was
    assert before == description_of(bare)
    assert behaviour == behaviour_of(bare)


def test_rows_from_before_the_rollups_are_summed(engine: Engine, bare: Engine) -> None:
    # Given rows that an older version wrote
    with bare.connect() as connection:
        command.upgrade(alembic_config(connection), "0003")
    Sink(bare).write([comment("1"), comment("2", label="negative"), ticket("3")], datetime.now(UTC))

    def sums() -> dict[str, list[tuple[object, ...]]]:
        queries = {
            "dash_sentiment_hourly": "SELECT * FROM dash_sentiment_hourly ORDER BY hour, label",
            "dash_sentiment_by_source": "SELECT * FROM dash_sentiment_by_source ORDER BY label",
            "dash_routing_by_team": "SELECT hour, source, team, status, tickets, mean_score FROM dash_routing_by_team",
            "dash_throughput": "SELECT minute, kind, state, items FROM dash_throughput ORDER BY kind",
            "dash_latency": "SELECT hour, task, results FROM dash_latency ORDER BY task",
        }
        with bare.connect() as connection:
            return {name: [tuple(row) for row in connection.execute(text(query))] for name, query in queries.items()}

    before = sums()
    assert all(before.values())

    # when the database is migrated, then the views say the same
    with bare.connect() as connection:
        command.upgrade(alembic_config(connection), "head")
    assert before == sums()


def test_every_summed_table_tells_the_rollups_of_every_kind_of_change(engine: Engine) -> None:
    # Given the triggers that are there
    with engine.connect() as connection:
        found = connection.execute(
            text("SELECT event_object_table, event_manipulation, action_orientation, action_timing"
                 " FROM information_schema.triggers WHERE trigger_schema = 'public'")
        )  # fmt: skip
        events = {tuple(row) for row in found}
        truncates = connection.execute(
            text("SELECT tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal AND tgtype & 32 > 0")
        ).scalars()
        # then there is one for each table and kind of statement
        assert {(table, kind, "STATEMENT", "AFTER") for table in SUMMED for kind in ("INSERT", "UPDATE", "DELETE")} == (
            events
        )
        assert sorted(SUMMED) == sorted(truncates)

        # and all of them together, and making all anew, fill every column of every rollup
        bodies = " ".join(
            connection.execute(text("SELECT prosrc FROM pg_proc WHERE starts_with(proname, 'rollup_')")).scalars()
        )
    for name in ROLLUPS - {"rollup_percentiles"}:  # which folding makes
        columns = ", ".join(column.name for column in metadata.tables[name].columns if column.name != "folded")
        assert f"INSERT INTO {name} ({columns})" in bodies


@pytest.mark.parametrize("view", sorted(VIEWS))
def test_a_view_answers_on_an_empty_database_and_describes_itself(engine: Engine, view: str) -> None:
    with engine.connect() as connection:
        # Given no rows, when a dashboard reads the view, then it answers
        result = connection.execute(text(f"SELECT * FROM {view}"))
        columns = list(result.keys())
        assert [] == result.all()

        # and it and each of its columns have a comment
        about = connection.execute(text("SELECT obj_description(CAST(:view AS regclass))"), {"view": view}).scalar()
        assert about
        described = connection.execute(
            text("SELECT a.attname FROM pg_attribute a WHERE a.attrelid = CAST(:view AS regclass) AND a.attnum > 0"
                 " AND col_description(a.attrelid, a.attnum) <> '' ORDER BY a.attnum"),
            {"view": view},
        )  # fmt: skip
        assert columns == list(described.scalars())


def test_there_are_no_other_views(engine: Engine) -> None:
    with engine.connect() as connection:
        found = connection.execute(text("SELECT viewname FROM pg_views WHERE schemaname = 'public'")).scalars()
        assert VIEWS == set(found)


def test_a_comment_with_quotes_and_colons_is_kept_as_it_is(engine: Engine) -> None:
    # Given a view whose comments hold what SQL and SQLAlchemy give a meaning to
    about = "Today's ratio 1:2, not :bound"
    view = View("probe", about, {"one": about}, "SELECT 1 AS one")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        from alembic.operations import Operations

        # when it is created
        with Operations.context(context):
            view.create()

        # then the database has the same words
        assert about == connection.execute(text("SELECT obj_description('probe'::regclass)")).scalar()


def test_migrating_again_does_nothing(settings: Settings) -> None:
    assert not migrate(settings)


def test_many_workers_may_start_at_once(settings: Settings, bare: Engine) -> None:
    # Given an empty database and four workers that start at the same time
    barrier = threading.Barrier(4)
    results: list[bool | FenliuError] = []

    def start() -> None:
        barrier.wait()
        try:
            results.append(migrate(settings))
        except FenliuError as error:
            results.append(error)

    workers = [threading.Thread(target=start) for _ in range(4)]

    # when each of them migrates
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    # then one of them does the work and the others find it done
    assert [False, False, False, True] == sorted(results, key=str)


def test_a_database_of_a_newer_version_is_refused_with_the_reason(settings: Settings, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SetupError, match="newer"):
        migrate(settings)


def test_a_server_that_is_away_is_no_fault_of_the_schema(settings: Settings) -> None:
    away = settings.model_copy(update={"database_url": "postgresql://fenliu@127.0.0.1:1/fenliu"})
    with pytest.raises(DatabaseUnavailableError):
        migrate(away)


def description_of(engine: Engine) -> dict[str, set[tuple[object, ...]]]:
    """What the server says of every table of ours."""
    with engine.connect() as connection:
        return {what: _rows(connection, query) for what, query in DESCRIPTION.items()}


def behaviour_of(engine: Engine) -> dict[str, set[tuple[object, ...]]]:
    """What the server says of every trigger, function and view of ours."""
    with engine.connect() as connection:
        return {what: {tuple(row) for row in connection.execute(text(query))} for what, query in BEHAVIOUR.items()}


def _rows(connection: Connection, query: str) -> set[tuple[object, ...]]:
    rows = [tuple(row) for row in connection.execute(text(query))]
    return {row for row in rows if row[0] != ALEMBIC_TABLE and row[0] not in VIEWS}
