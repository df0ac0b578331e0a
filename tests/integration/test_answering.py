"""Connections to Postgres whose answers get lost on the way, and such that only take long."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from benchmarks.chaos.proxy import Proxy
from schemas import answering
from schemas.database import make_engine, translated
from schemas.errors import DatabaseUnavailableError
from schemas.settings import Settings


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "SILENT_S", 0.3)
    monkeypatch.setattr(answering, "_LOOK_S", 0.1)


@pytest.fixture
def proxy(settings: Settings) -> Iterator[Proxy]:
    folder = re.search(r"host=([^&]+)", settings.database_url)
    assert folder
    with Proxy(Path(folder[1]) / ".s.PGSQL.5432") as proxy:
        yield proxy


@pytest.fixture
def far(settings: Settings, proxy: Proxy) -> Iterator[Engine]:
    """The test's database, by way of the proxy."""
    url = re.sub(r"@/([^?]+)\?.*", rf"@127.0.0.1:{proxy.port}/\1", settings.database_url)
    engine = make_engine(settings.model_copy(update={"database_url": url}))
    yield engine
    engine.dispose()


def test_an_answer_that_got_lost_is_no_longer_waited_for(far: Engine, proxy: Proxy) -> None:
    # Given a connection that a firewall forgets
    with far.connect() as connection:
        connection.execute(text("SELECT 1"))
        proxy.forget()
        # when something is asked on it, then that fails in a moment
        with pytest.raises(DatabaseUnavailableError), translated():
            connection.execute(text("SELECT 2"))
    # and the next connection works
    with far.connect() as connection:
        assert 3 == connection.execute(text("SELECT 3")).scalar_one()


def test_a_commit_and_the_check_of_a_pooled_connection_are_watched_too(far: Engine, proxy: Proxy) -> None:
    with far.connect() as connection:
        connection.execute(text("CREATE TEMP TABLE written (n int)"))
        proxy.forget()
        with pytest.raises(DatabaseUnavailableError), translated():
            connection.commit()
    with far.connect() as connection:
        connection.execute(text("SELECT 1"))
    proxy.forget()
    with far.connect() as connection:  # the pool's check finds out, and another connection takes its place
        assert 2 == connection.execute(text("SELECT 2")).scalar_one()


def test_what_takes_long_and_is_worked_on_is_left_alone(far: Engine) -> None:
    with far.connect() as connection:
        assert 1 == connection.execute(text("SELECT 1 FROM pg_sleep(1.5)")).scalar_one()


def test_a_server_that_nobody_reaches_is_waited_for(far: Engine, proxy: Proxy) -> None:
    # Given a network that forwards nothing for a while, and all of it afterwards
    with far.connect() as connection:
        connection.execute(text("SELECT 1"))
        proxy.stall(True)
        threading.Timer(1.5, proxy.stall, [False]).start()
        # when something is asked meanwhile, then the answer comes, late
        begun_s = time.monotonic()
        assert 2 == connection.execute(text("SELECT 2")).scalar_one()
        assert time.monotonic() - begun_s > 1
