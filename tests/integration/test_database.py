"""The engine on a real Postgres: its session settings, its limits and what it says when it is cut off."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import Engine, text

from schemas.database import make_engine, translated
from schemas.errors import DatabaseUnavailableError, RowRefusedError
from schemas.settings import Settings


def test_sessions_work_in_utc_and_give_up_what_takes_too_long(engine: Engine) -> None:
    with engine.connect() as connection:
        shown = {
            name: connection.execute(text(f"SHOW {name}")).scalar_one()
            for name in ("timezone", "statement_timeout", "lock_timeout", "application_name", "client_encoding")
        }
    assert {
        "timezone": "UTC",
        "statement_timeout": "30s",
        "lock_timeout": "10s",
        "application_name": "fenliu",
        "client_encoding": "UTF8",
    } == shown


def test_settings_survive_a_rollback(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.rollback()
        assert "30s" == connection.execute(text("SHOW statement_timeout")).scalar_one()


def test_a_statement_over_its_time_is_a_matter_of_the_moment(engine: Engine) -> None:
    with pytest.raises(DatabaseUnavailableError, match="57014"), translated(), engine.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = '50ms'"))
        connection.execute(text("SELECT pg_sleep(60)"))


def test_text_that_cannot_be_stored_is_refused_by_driver_and_server_alike(engine: Engine) -> None:
    for value in ("a\0b", "\ud800"):
        with pytest.raises(RowRefusedError), translated(), engine.begin() as connection:
            connection.execute(text("SELECT CAST(:value AS text)"), {"value": value})
    with pytest.raises(RowRefusedError, match="22P05"), translated(), engine.begin() as connection:
        connection.execute(text("SELECT CAST(:value AS jsonb)"), {"value": '"\\u0000"'})


def test_a_read_only_server_is_a_matter_of_the_moment(engine: Engine) -> None:
    with pytest.raises(DatabaseUnavailableError, match="25006"), translated(), engine.begin() as connection:
        connection.execute(text("SET TRANSACTION READ ONLY"))
        connection.execute(text("DELETE FROM items"))


def test_a_deadlock_is_a_matter_of_the_moment(engine: Engine) -> None:
    # Given two transactions that want each other's lock
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO models (name, version, state) VALUES ('a', '1', 'shadow'), ('b', '1', 'shadow')")
        )
    barrier = threading.Barrier(2)
    said: list[str] = []

    def take(first: str, second: str) -> None:
        try:
            with translated(), engine.begin() as connection:
                for name in (first, second):
                    connection.execute(text("UPDATE models SET state = 'retired' WHERE name = :name"), {"name": name})
                    if name == first:
                        barrier.wait()
        except DatabaseUnavailableError as error:
            said.append(str(error))

    # when both go for it
    threads = [threading.Thread(target=take, args=names) for names in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    # then one of them is told to try again
    (message,) = said
    assert "40P01" in message


@pytest.mark.parametrize(
    "url", ["postgresql://fenliu@127.0.0.1:1/fenliu", "postgresql://fenliu@/fenliu?host=/nowhere/at/all"]
)
def test_a_server_that_is_not_there_is_a_matter_of_the_moment(url: str) -> None:
    engine = make_engine(Settings(database_url=url))
    with pytest.raises(DatabaseUnavailableError) as caught, translated(), engine.connect():
        pass
    assert "\n" not in str(caught.value)


def test_a_password_is_not_in_the_message() -> None:
    engine = make_engine(Settings(database_url="postgresql://fenliu:s3cret@127.0.0.1:1/fenliu"))
    with pytest.raises(DatabaseUnavailableError) as caught, translated(), engine.connect():
        pass
    assert "s3cret" not in str(caught.value)
