"""Connections to Postgres whose answers get lost on the way, and such that only take long."""

from __future__ import annotations

import gc
import os
import re
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, NullPool, text

from benchmarks.chaos.proxy import Proxy
from schemas import answering
from schemas.answering import Answered
from schemas.database import make_engine, translated
from schemas.errors import DatabaseUnavailableError
from schemas.settings import Settings
from tests.waiting import wait_for


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
    time.sleep(1.1)  # it is asked again only after a rest
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


def test_a_server_that_does_not_say_what_it_does_is_waited_for(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("SET track_activities = off"))
        assert 1 == connection.execute(text("SELECT 1 FROM pg_sleep(1.5)")).scalar_one()


def test_another_host_of_the_same_name_says_nothing_of_a_connection(far: Engine, settings: Settings) -> None:
    # Given somebody who waits for a server, while its URL leads to another by now
    with far.connect() as connection, make_engine(settings, poolclass=NullPool).connect() as elsewhere:
        waiting, other = (each.connection.driver_connection for each in (connection, elsewhere))
        assert isinstance(waiting, Answered)
        assert isinstance(other, Answered)
        waiting.whole_dsn = other.whole_dsn
        with waiting.waiting():
            # when that one is asked, then the wait goes on
            assert {} == answering._cut_unanswered([waiting], {id(waiting): waiting.waiting_since_s or 0.0})
            time.sleep(0.4)
            assert {} == answering._cut_unanswered([waiting], {id(waiting): waiting.waiting_since_s or 0.0})
        assert 1 == connection.execute(text("SELECT 1")).scalar_one()


def test_the_watch_keeps_no_connection_that_nobody_holds(settings: Settings) -> None:
    # Given a connection that was looked at
    connection = make_engine(settings, poolclass=NullPool).connect()
    held = weakref.ref(connection.connection.driver_connection)
    time.sleep(0.3)
    # when its command forgets it, then it goes, and its descriptors with it
    connection.connection.detach()
    del connection
    gc.collect()
    wait_for(lambda: held() is None)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_does_not_cut_what_its_parent_waits_for(engine: Engine) -> None:
    # Given somebody who waits, and a process forked meanwhile
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, Answered)
        asked = threading.Thread(target=connection.execute, args=(text("SELECT pg_sleep(1.5)"),))
        asked.start()
        wait_for(lambda: driver.waiting_since_s is not None)
        child = os.fork()
        if child == 0:
            try:
                for each in answering._WATCH._open:
                    each.longest_s = 0.1  # what it would no longer wait for
                answering._cut_unanswered(answering._WATCH._open, {})
                time.sleep(0.4)
                answering._cut_unanswered(answering._WATCH._open, {})
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        # then the parent has its answer
        asked.join()
        assert 2 == connection.execute(text("SELECT 2")).scalar_one()
