"""A Postgres that is there and does not do its work: read-only, full, out of connections, locked, frozen; restarts.

A full disk is played by a trigger that raises what Postgres raises then.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from benchmarks.chaos.faults import one_after_the_other
from benchmarks.chaos.place import Place, place
from benchmarks.chaos.scenario import Result, Size
from benchmarks.chaos.timeline import DOWN, UP
from benchmarks.chaos.traffic import Traffic, items

MINUTES = 1.5
ITEMS = 15_000
LONGEST_S = 8.0
_DISK_FULL = """
    CREATE FUNCTION disk_is_full() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$;
    CREATE TRIGGER full_disk BEFORE INSERT ON items EXECUTE FUNCTION disk_is_full()
"""
_END_OTHERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


def run(size: Size) -> Result:
    """One fault after the other, in random order, again and again."""
    seconds, rng = size.seconds(MINUTES), size.rng("postgres")
    count = size.items or size.part(ITEMS, MINUTES)
    with place(size) as here, Traffic(here.seen, count, seconds) as traffic:
        faults = [read_only, full, crowded, locked, frozen, fast_restart, immediate_restart]
        one_after_the_other(here, traffic, faults, rng, seconds)
        return here.result(items(count))


@contextmanager
def _away(here: Place, how: str) -> Iterator[None]:
    here.timeline.note(DOWN, "postgres", how)
    yield
    here.timeline.note(UP, "postgres")


def _statement(here: Place, *statements: str) -> None:
    with here.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("SET default_transaction_read_only = off")
        for statement in statements:
            connection.execute(text(statement))


def read_only(here: Place, rng: random.Random) -> None:
    """Transactions may not write, by ALTER SYSTEM."""
    for_s = rng.uniform(0.5, LONGEST_S)
    _statement(here, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
    with _away(here, f"read-only for {for_s:.1f} s"):
        time.sleep(for_s)
        _statement(here, "ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")


def full(here: Place, rng: random.Random) -> None:
    """No row can be added."""
    for_s = rng.uniform(0.5, LONGEST_S)
    _statement(here, _DISK_FULL)
    with _away(here, f"no space left for {for_s:.1f} s"):
        time.sleep(for_s)
        _statement(here, "DROP TRIGGER full_disk ON items; DROP FUNCTION disk_is_full()")


def crowded(here: Place, rng: random.Random) -> None:
    """Every connection is ended and all there may be are taken, superusers' too."""
    for_s = rng.uniform(0.5, LONGEST_S)
    with ExitStack() as crowd, _away(here, f"out of connections for {for_s:.1f} s"):
        ends_s = time.monotonic() + for_s
        first = crowd.enter_context(here.engine.connect())
        first.execute(text(_END_OTHERS))
        while time.monotonic() < ends_s:
            try:
                crowd.enter_context(here.engine.connect())
            except OperationalError:  # that was the last
                time.sleep(0.01)
        crowd.close()


def locked(here: Place, rng: random.Random) -> None:
    """Longer than workers wait for a lock, sometimes."""
    for_s = rng.uniform(0.5, 1.5 * LONGEST_S)
    with _away(here, f"items locked for {for_s:.1f} s"), here.engine.begin() as connection:
        connection.execute(text("LOCK TABLE items IN ACCESS EXCLUSIVE MODE"))
        time.sleep(for_s)


def frozen(here: Place, rng: random.Random) -> None:
    """It stands still, its connections stay open."""
    here.postgres.freeze(rng.uniform(0.5, 1.5 * LONGEST_S))


def fast_restart(here: Place, rng: random.Random) -> None:
    """Sessions are ended in order."""
    here.postgres.restart(rng.uniform(0, 2))


def immediate_restart(here: Place, rng: random.Random) -> None:
    """As after a crash, with recovery."""
    here.postgres.restart(rng.uniform(0, 2), signal.SIGQUIT)
