"""What is due: claimed once, caught up or skipped, started again when it dies."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select, text, update

from producers.backfill import schedules as kept
from producers.backfill.options import Options
from schemas.errors import ScheduleError
from schemas.tables import backfills, schedules
from tests.conftest import Fenliu
from worker.desk import schedules as desk
from worker.desk.schedules import Launch

GRACE_S = 80.0
OPTIONS = Options(origin="/data/comments.csv", source="shop", meta_columns=("shop", "city"), rate=500.0)


def add(engine: Engine, name: str = "nightly", *, catch_up: bool = False, late_s: float | None = 5.0) -> None:
    """A schedule of every hour, due `late_s` ago; None: not due."""
    kept.add(engine, name, cron="0 * * * *", timezone="Asia/Shanghai", catch_up=catch_up, options=OPTIONS, by="mei")
    if late_s is not None:
        due(engine, name, late_s)


def due(engine: Engine, name: str, late_s: float = 5.0) -> None:
    with engine.begin() as connection:
        at = datetime.now(UTC) - timedelta(seconds=late_s)
        connection.execute(update(schedules).where(schedules.c.name == name).values(next_run_at=at))


def claim(engine: Engine) -> list[Launch]:
    return desk.claim(engine, grace_s=GRACE_S, prunes=True)


def row_of(engine: Engine, name: str = "nightly") -> Any:
    with engine.connect() as connection:
        return connection.execute(select(schedules).where(schedules.c.name == name)).one()


def backfill_rows(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(select(backfills).order_by(backfills.c.id)))


def change(engine: Engine, **values: Any) -> None:
    with engine.begin() as connection:
        connection.execute(update(backfills).values(**values))


# --- claiming --------------------------------------------------------------------------------------------------------


def test_a_run_that_is_due_starts_once_and_is_moved_on(engine: Engine) -> None:
    # Given one schedule that is due and one that is not
    add(engine)
    add(engine, "later", late_s=None)
    # When two workers look
    first, second = claim(engine), claim(engine)
    # Then one of them starts a backfill that needs no more than its id
    [row] = backfill_rows(engine)
    assert [Launch("backfill-nightly", ("backfill", "resume", str(row.id)), row.id)] == first
    assert [] == second
    assert ("running", "nightly", 1, "shop") == (row.state, row.schedule, row.attempts, row.source)
    assert OPTIONS == Options.from_json({"origin": row.origin, **row.options})
    # And the schedule waits for its next hour
    moved = row_of(engine)
    assert timedelta(0) < moved.next_run_at - datetime.now(UTC) <= timedelta(hours=1)
    assert f"started backfill {row.id}" == moved.last_outcome
    assert moved.last_run_at is not None


def test_of_many_that_look_at_once_one_starts_it(engine: Engine) -> None:
    for number in range(5):
        add(engine, f"n{number}")
    with ThreadPoolExecutor(8) as pool:
        started = [launch for launches in pool.map(lambda _: claim(engine), range(24)) for launch in launches]
    assert [f"backfill-n{number}" for number in range(5)] == sorted(launch.log for launch in started)
    assert 5 == len(backfill_rows(engine))


@pytest.mark.parametrize(("catch_up", "started", "outcome"), [(False, 0, "skipped: the run of"), (True, 1, "started")])
def test_missed_runs_are_caught_up_once_or_skipped(engine: Engine, catch_up: bool, started: int, outcome: str) -> None:
    # Given hourly runs of which many were missed
    add(engine, catch_up=catch_up, late_s=7 * 3600)
    # When the clock runs again, then they are one run or none, and the next is awaited
    assert started == len(claim(engine)) + len(claim(engine))
    row = row_of(engine)
    assert row.last_outcome.startswith(outcome)
    assert row.next_run_at > datetime.now(UTC)
    assert (row.last_run_at is not None) is bool(started)


def test_a_little_late_is_not_missed(engine: Engine) -> None:
    add(engine, late_s=GRACE_S - 20)
    assert 1 == len(claim(engine))


@pytest.mark.parametrize(("state", "starts"), [("running", 0), ("draining", 0), ("done", 1), ("failed", 1)])
def test_no_run_starts_while_the_one_before_still_runs(engine: Engine, state: str, starts: int) -> None:
    # Given a run that has got so far when the next is due
    add(engine)
    claim(engine)
    change(engine, state=state)
    due(engine, "nightly")
    # Then
    assert starts == len(claim(engine))
    if not starts:
        assert "still runs" in row_of(engine).last_outcome
        assert row_of(engine).next_run_at > datetime.now(UTC)


def test_what_is_disabled_or_broken_does_not_hold_up_the_rest(engine: Engine) -> None:
    # Given a disabled schedule, two that somebody has broken by hand, one of an unknown job, and a good one
    for name in ("off", "broken", "empty", "unknown", "nightly"):
        add(engine, name)
    kept.disable(engine, "off")
    with engine.begin() as connection:
        connection.execute(text("UPDATE schedules SET cron = '61 * * * *' WHERE name = 'broken'"))
        connection.execute(text("UPDATE schedules SET options = '{}' WHERE name = 'empty'"))
        connection.execute(text("UPDATE schedules SET job = 'cook' WHERE name = 'unknown'"))
    # When one looks, then the good one runs, and the others say why not
    assert ["backfill-nightly"] == [launch.log for launch in claim(engine)]
    assert (False, True) == (row_of(engine, "broken").enabled, "minute '61'" in row_of(engine, "broken").last_outcome)
    assert (False, "disabled") == (row_of(engine, "empty").enabled, row_of(engine, "empty").last_outcome[:8])
    assert "no job 'cook'" in row_of(engine, "unknown").last_outcome
    assert row_of(engine, "off").last_outcome is None


def test_pruning_is_scheduled_once_and_started_only_if_the_settings_say_so(engine: Engine) -> None:
    for _ in range(3):
        desk.keep_nightly_prune(engine)
    assert [] == claim(engine)
    assert [] == kept.every(engine)  # it is no schedule of somebody's
    due(engine, desk.NIGHTLY_PRUNE)
    assert [Launch("prune", ("prune",))] == claim(engine)
    due(engine, desk.NIGHTLY_PRUNE)
    assert [] == desk.claim(engine, grace_s=GRACE_S, prunes=False)


# --- starting again --------------------------------------------------------------------------------------------------


def test_a_backfill_that_nobody_works_on_is_started_again_and_gives_up_in_the_end(engine: Engine) -> None:
    # Given the backfill of a schedule, and one that somebody has started by hand
    add(engine)
    [launch] = claim(engine)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO backfills (source, origin, state) VALUES ('x', '/x.csv', 'running')"))
    long_ago = datetime.now(UTC) - timedelta(minutes=2)

    def recover(tended: bool) -> list[Launch]:
        return desk.recover(engine, lambda _: tended)

    # When it has just begun, or a process holds its lease, then it is left alone
    assert [] == recover(False)
    change(engine, changed_at=long_ago)
    assert [] == recover(True)
    # When nobody has worked on it for a while, then it is started again by one of those who look
    assert [launch] == recover(False)
    assert [] == recover(False)
    for _ in range(3):
        change(engine, changed_at=long_ago, state="draining")
        assert [launch] == recover(False)
    # When that was five times, then it has failed and says so; the other one is its owner's
    change(engine, changed_at=long_ago)
    assert [] == recover(False)
    scheduled, by_hand = backfill_rows(engine)
    assert ("failed", 5) == (scheduled.state, scheduled.attempts)
    assert "logs/backfill-nightly.log" in scheduled.error
    assert scheduled.finished_at is not None
    assert 0 == by_hand.attempts


def test_a_start_that_a_stopping_worker_cut_off_does_not_count(engine: Engine) -> None:
    add(engine)
    [launch] = claim(engine)
    assert launch.backfill_id is not None
    desk.uncount(engine, [launch.backfill_id])
    assert 0 == backfill_rows(engine)[0].attempts


# --- keeping ---------------------------------------------------------------------------------------------------------


def test_schedules_are_kept_listed_paused_and_removed(engine: Engine) -> None:
    add(engine, "b", late_s=None)
    add(engine, "a")
    claim(engine)
    first, second = kept.every(engine)
    assert ("a", "running", "/data/comments.csv", "mei") == (
        first.name, first.backfill_state, first.origin, first.created_by,
    )  # fmt: skip
    assert ("b", None, True) == (second.name, second.backfill_state, second.enabled)
    # What was missed while it was paused stays missed
    kept.disable(engine, "b")
    due(engine, "b", 3600.0)
    assert [] == claim(engine)
    assert kept.enable(engine, "b") > datetime.now(UTC)
    assert [] == claim(engine)
    kept.remove(engine, "a")
    assert ["b"] == [each.name for each in kept.every(engine)]


@pytest.mark.parametrize(
    ("name", "cron", "timezone", "said"),
    [
        ("a b", "0 2 * * *", "UTC", "is no name"),
        ("a/b", "0 2 * * *", "UTC", "is no name"),
        ("a", "0 25 * * *", "UTC", "the hour '25'"),
        ("a", "0 2 * * *", "Asia/Nowhere", "no time zone"),
        ("twice", "0 2 * * *", "UTC", "already"),
    ],
)
def test_what_cannot_be_kept_is_refused(engine: Engine, name: str, cron: str, timezone: str, said: str) -> None:
    add(engine, "twice")
    with pytest.raises(ScheduleError, match=said):
        kept.add(engine, name, cron=cron, timezone=timezone, catch_up=False, options=OPTIONS, by="mei")
    assert ["twice"] == [each.name for each in kept.every(engine)]


@pytest.mark.parametrize("change_it", [kept.remove, kept.enable, kept.disable])
def test_what_is_not_there_is_said(engine: Engine, change_it: Any) -> None:
    desk.keep_nightly_prune(engine)
    for name in ("nobody", desk.NIGHTLY_PRUNE):
        with pytest.raises(ScheduleError, match="no schedule"):
            change_it(engine, name)


def test_schedules_on_the_command_line(fenliu: Fenliu, engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "old.csv"
    file.write_text("id,text\n1,好\n")
    # Given options that a run needs, in any order
    given = ["--rate", "50", "nightly", "--id-column", "no", str(file), "--cron", "0 2 * * *", "--catch-up"]
    added = fenliu("backfill", "schedule", "add", *given, "--by", "mei")
    assert (0, True) == (added.returncode, added.stdout.startswith("nightly: first run at ")), added.stderr
    # Then they are kept as a backfill's row wants them
    row = row_of(engine)
    assert ("0 2 * * *", "UTC", True, "mei") == (row.cron, row.timezone, row.catch_up, row.created_by)
    assert Options(origin=str(file), id_column="no", rate=50.0) == Options.from_json(row.options["options"])
    assert "nightly" in fenliu("backfill", "schedule", "list").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{file}", "--cron", "0 25 * * *"], "the hour '25' is wrong"),
        (["-", "--cron", "0 2 * * *"], "cannot read a pipe"),
        (["postgresql://u:secret@h/d", "--query", "SELECT 1", "--key", "id", "--cron", "0 2 * * *"], "keeps no URL"),
    ],
)
def test_misuse_keeps_nothing(fenliu: Fenliu, engine: Engine, tmp_path: Path, arguments: list[str], said: str) -> None:
    file = tmp_path / "old.csv"
    file.write_text("id,text\n1,好\n")
    done = fenliu("backfill", "schedule", "add", "nightly", *(part.format(file=file) for part in arguments))
    assert (2, "") == (done.returncode, done.stdout)
    assert said in " ".join(done.stderr.replace("│", " ").split())
    assert "secret" not in done.stderr
    assert [] == kept.every(engine)
