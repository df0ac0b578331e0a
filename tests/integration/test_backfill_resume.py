"""A backfill that is interrupted, doubled, moved or cancelled: every row is in the inbox exactly once."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, text

from producers.backfill import cancel, cursor, ledger, runner
from producers.backfill.cursor import CancelledError, Cursor
from producers.backfill.options import Options
from producers.backfill.progress import Progress
from producers.backfill.running import clients
from schemas.errors import BackfillError, InboxFullError, InboxUnavailableError, LeaseTakenError
from schemas.names import GROUP, BackfillState, Lane
from schemas.settings import Settings
from tests.integration.backfills import bulk, go_on, ids, pour, work_off

ROWS = 600
EVERY_ID = [str(number) for number in range(ROWS)]


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "CHUNK_ROWS", 50)


@pytest.fixture
def path(tmp_path: Path) -> str:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"id": number, "text": f"第{number}条"}) + "\n" for number in range(ROWS)))
    return str(path)


class KilledError(BaseException):
    """What `kill -9` is to a test in the same process: nothing is cleaned up."""


def break_executes(monkeypatch: pytest.MonkeyPatch, *, before: set[int], after: set[int], error: BaseException) -> None:
    """Let `error` come before or after some of the EXECs with entries, counted from 1."""
    real = redis.client.Pipeline.execute
    count = 0

    def execute(self: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal count
        if sum(command[0][0] == "XADD" for command in self.command_stack) == 0:
            return real(self, *arguments, **options)
        count += 1
        if count in before:
            raise error
        answer = real(self, *arguments, **options)
        if count in after:
            raise error
        return answer

    monkeypatch.setattr(redis.client.Pipeline, "execute", execute)


# --- interrupted -----------------------------------------------------------------------------------------------------


def test_a_lost_connection_around_exec_is_settled_by_the_position(
    settings: Settings, engine: Engine, redis_client: redis.Redis, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a connection that breaks before two EXECs and, their answers lost, after two others, the last one too
    lost = redis.ConnectionError("gone")
    break_executes(monkeypatch, before={2, 7}, after={4, 5, 14}, error=lost)
    record = pour(settings, engine, path)
    found: Any = redis_client.xrange(settings.keys.inbox(Lane.BULK))
    assert EVERY_ID == ids(bulk(redis_client, settings))
    assert ROWS == record.progress.enqueued
    # The bounds hold all entries, also where an answer was lost.
    assert (record.progress.first, record.progress.last) == (found[0][0].decode(), found[-1][0].decode())


def test_killed_anywhere_and_resumed_every_row_is_there_once(
    settings: Settings, engine: Engine, redis_client: redis.Redis, path: str
) -> None:
    # Given a backfill that is cut off before or after any of its EXECs, several times
    seed = random.randrange(2**32)
    sys.stdout.write(f"seed {seed}\n")
    chance = random.Random(seed)
    record = ledger.create(engine, Options(origin=path))
    for _ in range(6):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(runner, "CHUNK_ROWS", chance.randint(20, 60))
            at = chance.randint(1, 4)
            side = {"before": {at}, "after": set()} if chance.random() < 0.5 else {"before": set(), "after": {at}}
            break_executes(patch, **side, error=KilledError())  # type: ignore[arg-type]
            try:
                go_on(settings, record)
            except KilledError:
                redis_client.delete(settings.keys.backfill_lease(record.id))  # as its end would
    # When it is resumed for the last time, then every row is in the inbox exactly once
    go_on(settings, ledger.get(engine, record.id))
    assert EVERY_ID == ids(bulk(redis_client, settings))


def test_a_redis_that_lost_its_last_moments_gets_the_lost_chunks_again(
    settings: Settings, engine: Engine, redis_client: redis.Redis, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a Redis that goes back, after the ninth chunk, to what it had after the third: entries and position alike
    key, inbox = settings.keys.backfill(1), settings.keys.inbox(Lane.BULK)
    kept: dict[str, Any] = {}
    count = 0
    real = Cursor.add

    def add(self: Cursor, after: Progress, entries: Any, bound: int) -> Progress:
        nonlocal count
        count += 1
        if count == 4:
            kept.update(state=redis_client.hget(key, "state"), entries=[name for name, _ in redis_client.xrange(inbox)])  # type: ignore[union-attr]
        if count == 10:
            redis_client.hset(key, "state", kept["state"])
            later = [name for name, _ in redis_client.xrange(inbox) if name not in kept["entries"]]  # type: ignore[union-attr]
            redis_client.xdel(inbox, *later)
        return real(self, after, entries, bound)

    monkeypatch.setattr(Cursor, "add", add)
    record = pour(settings, engine, path)
    assert sorted(EVERY_ID) == sorted(ids(bulk(redis_client, settings)))
    assert ROWS == record.progress.enqueued


def test_where_redis_has_forgotten_the_copy_in_the_table_counts(
    settings: Settings, engine: Engine, redis_client: redis.Redis, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first = pour(settings, engine, path, limit=250)
    with engine.begin() as connection:
        connection.execute(text("UPDATE backfills SET options = options - 'limit'"))
        connection.execute(text("UPDATE backfills SET position = position || '{\"ended\": false}'"))
    redis_client.delete(settings.keys.backfill(first.id))
    record = go_on(settings, ledger.get(engine, first.id))
    assert EVERY_ID == ids(bulk(redis_client, settings))
    assert "Redis knows nothing of backfill 1" in capsys.readouterr().err
    # All of it was read at one time: when reading began.
    assert 1 == len({entry["updated_at"] for entry in bulk(redis_client, settings)})
    assert first.progress.read_at == record.progress.read_at


def test_a_position_that_vanishes_meanwhile_ends_the_run_and_says_what_to_do(
    settings: Settings, engine: Engine, redis_client: redis.Redis, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Cursor.add

    def add(self: Cursor, after: Progress, entries: Any, bound: int) -> Progress:
        if after.chunk == 5:
            redis_client.delete(settings.keys.backfill(1))
        return real(self, after, entries, bound)

    monkeypatch.setattr(Cursor, "add", add)
    with pytest.raises(BackfillError, match="was it emptied"):
        pour(settings, engine, path)
    monkeypatch.undo()
    assert BackfillState.FAILED is ledger.get(engine, 1).state


def test_a_redis_emptied_while_workers_work_it_off_is_told(
    settings: Settings, engine: Engine, redis_client: redis.Redis, path: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    # Given a backfill whose rows are all in, and a Redis that loses them before any worker took one
    record = pour(settings, engine, path)
    real = Cursor.is_beyond

    def is_beyond(self: Cursor, entry_id: str) -> bool:
        redis_client.flushdb()
        return real(self, entry_id)

    monkeypatch.setattr(Cursor, "is_beyond", is_beyond)
    # when it is waited for, then that is an error and no report of rows that something newer stands before
    with pytest.raises(BackfillError, match="was it emptied"):
        go_on(settings, record, wait=True)
    assert BackfillState.FAILED is ledger.get(engine, 1).state
    # and whoever goes on is told what to do
    monkeypatch.undo()
    go_on(settings, ledger.get(engine, 1), wait=True)
    assert "Entries that waited in an emptied inbox are lost; `start … --only-missing`" in capsys.readouterr().err
    assert BackfillState.DONE is ledger.get(engine, 1).state


def test_a_file_that_has_changed_is_refused_unless_forced(
    settings: Settings, engine: Engine, redis_client: redis.Redis, path: str
) -> None:
    record = ledger.create(engine, Options(origin=path))
    with pytest.MonkeyPatch.context() as patch:
        break_executes(patch, before={3}, after=set(), error=KilledError())
        with pytest.raises(KilledError):
            go_on(settings, record)
    redis_client.delete(settings.keys.backfill_lease(1))
    with Path(path).open("a") as file:
        file.write('{"id": "more", "text": "又"}\n')
    with pytest.raises(BackfillError, match=r"its size and its time changed.*--force"):
        go_on(settings, ledger.get(engine, 1))
    go_on(settings, ledger.get(engine, 1), force=True)
    assert [*EVERY_ID, "more"] == ids(bulk(redis_client, settings))


# --- two at once -----------------------------------------------------------------------------------------------------


def test_a_second_runner_is_turned_away_and_an_overtaken_one_adds_nothing(
    settings: Settings, redis_client: redis.Redis
) -> None:
    with clients(settings) as (_, client):
        first, second = Cursor(client, settings.keys, 7), Cursor(client, settings.keys, 7)
        begun = first.take(Progress())
        one = [{"id": "1", "text": "好"}]
        # While the first holds it, nobody else can take it;
        with pytest.raises(LeaseTakenError, match="works on backfill 7"):
            second.take(Progress())
        # once its lease has run out, the second can,
        redis_client.delete(settings.keys.backfill_lease(7))
        taken = second.take(Progress())
        # and from then on the first adds nothing, whatever it believes.
        with pytest.raises(LeaseTakenError):
            first.add(Progress(chunk=1, read=1, enqueued=1, first=begun.first), one, 100)
        with pytest.raises(LeaseTakenError):
            first.is_beyond("0-1")
        after = second.add(Progress(chunk=1, read=1, enqueued=1, first=taken.first), one, 100)
        assert ["1"] == ids(bulk(redis_client, settings))
        # The first's end takes nothing from the second.
        first.release(forget=True)
        assert after.read == second.add(after, [], 100).read


def test_the_lease_of_a_process_that_has_died_here_is_free_at_once(
    settings: Settings, redis_client: redis.Redis
) -> None:
    with clients(settings) as (_, client):
        Cursor(client, settings.keys, 7).take(Progress())
        key = settings.keys.backfill_lease(7)
        holder: Any = redis_client.get(key)
        host, boot, space, _, token = holder.decode().split(" ")
        redis_client.set(key, f"{host} {boot} {space} 4194399 {token}", px=30_000)
        Cursor(client, settings.keys, 7).take(Progress())
        assert 0 < int(redis_client.pttl(key)) <= 30_000  # type: ignore[arg-type]
        # It is kept by its holder alone,
        holder = Cursor(client, settings.keys, 7)
        holder.keep_lease()
        redis_client.pexpire(key, 5_000)
        holder.keep_lease()
        assert int(redis_client.pttl(key)) <= 5_000  # type: ignore[arg-type]
        # and that of a process elsewhere is not free.
        redis_client.set(key, f"elsewhere {boot} {space} 4194399 {token}", px=30_000)
        with pytest.raises(LeaseTakenError, match="process 4194399 on elsewhere"):
            Cursor(client, settings.keys, 7).take(Progress())


def test_a_full_inbox_takes_nothing_and_another_keys_type_is_named(
    settings: Settings, redis_client: redis.Redis
) -> None:
    with clients(settings) as (_, client):
        held = Cursor(client, settings.keys, 7)
        held.take(Progress())
        some = [{"id": str(number), "text": "好"} for number in range(3)]
        with pytest.raises(InboxFullError, match="holds 0 entries and its bound is 2"):
            held.add(Progress(chunk=1), some, 2)
        assert [] == bulk(redis_client, settings)
        assert held.add(Progress(chunk=1, enqueued=3), some, 3).last is not None
        redis_client.delete(settings.keys.backfill(7))
        with pytest.raises(BackfillError):
            held.add(Progress(chunk=2), some, 9)


# --- cancelled -------------------------------------------------------------------------------------------------------


def test_cancelling_takes_out_what_no_worker_has_taken(
    settings: Settings, engine: Engine, redis_client: redis.Redis, path: str
) -> None:
    # Given a backfill between entries of others, the first hundred of its entries done or held by a worker
    inbox = settings.keys.inbox(Lane.BULK)
    redis_client.xadd(inbox, {"id": "before", "text": "好"})
    pour(settings, engine, path, source="shop")
    redis_client.xadd(inbox, {"id": "after", "text": "好"})
    assert 61 == work_off(redis_client, settings, engine, 61)
    redis_client.xreadgroup(GROUP, "held", {inbox: ">"}, count=40)
    # When it is cancelled
    with clients(settings) as (own, client):
        cancelled = cancel.cancel(own, client, settings.keys, 1)
        again = cancel.cancel(own, client, settings.keys, 1)
    # then the rest is gone and the others' entries are there
    assert (ROWS, ROWS - 100, 0) == (cancelled.enqueued, cancelled.removed, again.removed)
    assert [*EVERY_ID[60:100], "after"] == ids(bulk(redis_client, settings))
    assert BackfillState.CANCELLED is ledger.get(engine, 1).state
    with pytest.raises(CancelledError):
        go_on(settings, ledger.get(engine, 1))


def test_cancelling_takes_nothing_of_another_backfill_of_the_same_source(
    settings: Settings, engine: Engine, redis_client: redis.Redis, path: str
) -> None:
    # Given two backfills of a source, the second one in the middle of the first, and one of another source
    pour(settings, engine, path, source="shop", limit=100)
    pour(settings, engine, path, source="shop", limit=50)
    pour(settings, engine, path, source="desk", limit=50)
    redis_client.delete(settings.keys.backfill(1))
    with engine.begin() as connection:
        connection.execute(
            text("""UPDATE backfills SET options = options - 'limit', position = position || '{"ended": false}'
            WHERE id = 1""")
        )
    go_on(settings, ledger.get(engine, 1))
    # when they are cancelled, then nothing is taken out where nobody can tell whose it is
    with clients(settings) as (own, client):
        cancelled = [cancel.cancel(own, client, settings.keys, number) for number in (1, 2, 3)]
    assert [(0, (2,)), (50, ()), (50, ())] == [(one.removed, one.shared_with) for one in cancelled]
    assert EVERY_ID == ids(bulk(redis_client, settings))


def test_a_running_backfill_sees_that_it_is_cancelled_before_its_next_chunk(
    settings: Settings, engine: Engine, redis_client: redis.Redis, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Cursor.add

    def add(self: Cursor, after: Progress, entries: Any, bound: int) -> Progress:
        if after.chunk == 5:
            with clients(settings) as (own, client):
                assert 200 == cancel.cancel(own, client, settings.keys, 1).removed
        return real(self, after, entries, bound)

    monkeypatch.setattr(Cursor, "add", add)
    with pytest.raises(CancelledError, match="has been cancelled"):
        pour(settings, engine, path)
    monkeypatch.undo()
    assert [] == bulk(redis_client, settings)
    record = ledger.get(engine, 1)
    assert (BackfillState.CANCELLED, 200) == (record.state, record.progress.enqueued)


def test_what_is_done_cannot_be_cancelled(settings: Settings, engine: Engine, path: str) -> None:
    with clients(settings) as (own, client):
        record = pour(settings, engine, path)
        ledger.save(own, record.id, state=BackfillState.DONE)
        with pytest.raises(BackfillError, match="is done"):
            cancel.cancel(own, client, settings.keys, record.id)
        with pytest.raises(BackfillError, match="there is no backfill 99"):
            cancel.cancel(own, client, settings.keys, 99)
        client.connection_pool.connection_kwargs["path"] = "/nowhere"
        client.connection_pool.disconnect()
        with pytest.raises(InboxUnavailableError):
            cursor.position(client, settings.keys, record.id)
