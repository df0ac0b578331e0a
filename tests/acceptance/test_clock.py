"""The clock with real processes: two beats and a worker run what is due, once, through all that happens to them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import text

from tests.acceptance.conftest import Place, Servers
from tests.conftest import ROOT, environment, fenliu_command
from tests.waiting import wait_for

ROWS = 300
TICK = {"FENLIU_TICK_S": "0.5"}


@pytest.fixture
def beats(own_place: Place, tmp_path: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Two clocks."""
    with (tmp_path / "beat.log").open("wb") as log:
        running = [
            subprocess.Popen(
                fenliu_command("beat"), cwd=ROOT, env=environment(own_place.settings, **TICK), stdout=log, stderr=log
            )
            for _ in range(2)
        ]
    yield running
    for beat in running:
        beat.kill()
        beat.wait(10)


def run(place: Place, *arguments: str) -> Any:
    done = subprocess.run(
        fenliu_command(*arguments),
        cwd=ROOT,
        env=environment(place.settings),
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return json.loads(done.stdout)


def change(place: Place, statement: str) -> None:
    with place.engine.begin() as connection:
        connection.execute(text(statement))


def set_due(place: Place) -> None:
    change(place, "UPDATE schedules SET next_run_at = now() - interval '1 s' WHERE job = 'backfill'")


def backfills(place: Place) -> list[tuple[Any, ...]]:
    return place.rows("SELECT state, enqueued, attempts FROM backfills ORDER BY id")


def jobs_of(worker: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Processes of backfills that a worker has started, zombies included."""
    return [child for child in psutil.Process(worker.pid).children() if "zombie" == child.status() or _is_job(child)]


def _is_job(process: psutil.Process) -> bool:
    try:
        return "backfill" in process.cmdline()
    except psutil.NoSuchProcess:
        return False


def test_what_is_due_runs_once_whatever_happens(
    own_place: Place, servers: Servers, beats: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    place = own_place
    file = tmp_path / "old.csv"
    file.write_text("id,text\n" + "".join(f"{n},物流太慢了\n" for n in range(ROWS)))
    worker = place.workers.start(**TICK, FENLIU_RETENTION_DAYS="30")

    # Given a schedule for every night
    added = run(place, "backfill", "schedule", "add", "nightly", str(file), "--cron", "0 2 * * *", "--timezone",
                "Asia/Shanghai", "--source", "shop", "--json")  # fmt: skip
    assert added["next_run_at"].endswith("18:00:00+00:00")
    # When it is due, with two clocks, then one backfill runs, its rows arrive, and its process is collected
    set_due(place)
    wait_for(lambda: [("done", ROWS, 1)] == backfills(place), 60, "one backfill is done")
    assert [("shop", ROWS)] == place.rows("SELECT source, count(*) FROM items GROUP BY 1")
    wait_for(lambda: [] == jobs_of(worker), 10, "nothing is left of its process")
    [shown] = run(place, "backfill", "schedule", "list", "--json")
    assert ("nightly", "done", "started backfill 1") == (
        shown["name"], shown["backfill_state"], shown["last_outcome"],
    )  # fmt: skip

    # When night comes, then what is older than the settings say is pruned
    change(place, "UPDATE items SET received_at = now() - interval '31 days' WHERE item_id = '0'")
    change(place, "UPDATE schedules SET next_run_at = now() WHERE job = 'prune'")
    wait_for(lambda: ROWS - 1 == place.one("SELECT count(*) FROM items"), 30, "one item is pruned")

    # When Redis has been away, then the clocks tick on
    servers.restart(servers.redis, away_s=2)
    change(place, "UPDATE schedules SET options = jsonb_set(options, '{options,rate}', '20') WHERE job = 'backfill'")
    set_due(place)
    wait_for(lambda: "running" == backfills(place)[-1][0] and backfills(place)[-1][1] > 0, 60, "the next run has begun")

    # When its process is killed, then a later tick goes on with it, and no second one is started beside it
    [job] = jobs_of(worker)
    job.kill()
    wait_for(lambda: [] == jobs_of(worker), 10, "it is collected")
    set_due(place)
    wait_for(lambda: "still runs" in place.one("SELECT last_outcome FROM schedules WHERE job = 'backfill'"), 20, "said")
    place.client.delete(place.settings.keys.backfill_lease(2))  # as it runs out by itself
    change(place, "UPDATE backfills SET changed_at = now() - interval '2 min' WHERE id = 2")
    wait_for(lambda: 2 == backfills(place)[-1][2], 20, "it is started again")
    wait_for(lambda: bool(jobs_of(worker)), 20, "a process")

    # When the worker is stopped, then its job ends with it, and that start does not count
    worker.send_signal(signal.SIGTERM)
    assert 0 == worker.wait(40), place.workers.log_of(worker)
    assert ["done", "running"] == [state for state, _, _ in backfills(place)]
    assert 1 == backfills(place)[-1][2]
    # And the clocks end at once when they are asked to
    for beat in beats:
        beat.send_signal(signal.SIGTERM)
        assert 0 == beat.wait(5)
    assert "Traceback" not in (tmp_path / "beat.log").read_text()

    # When all of them are started again, then the rest is done, each row once
    with subprocess.Popen(fenliu_command("beat"), cwd=ROOT, env=environment(place.settings, **TICK)) as beat:
        try:
            place.workers.start(**TICK)
            place.client.delete(place.settings.keys.backfill_lease(2))
            change(
                place,
                "UPDATE backfills SET changed_at = now() - interval '2 min', options = options - 'rate' WHERE id = 2",
            )
            wait_for(lambda: ("done", ROWS, 2) == backfills(place)[-1], 60, "the second backfill is done")
        finally:
            beat.terminate()
    assert 2 == len(backfills(place))
    assert ROWS == place.one("SELECT count(*) FROM items")


def test_the_clock_loads_no_model_and_leaves_no_file(tmp_path: Path) -> None:
    # Given what `fenliu beat` imports, when it runs for a moment without a broker, then it waits and ends when asked
    script = (
        "import sys, worker.cli.beat\n"
        "assert not {'onnxruntime', 'tokenizers', 'numpy', 'sqlalchemy'} & set(sys.modules), sys.modules.keys()\n"
        "import fenliu; sys.argv = ['fenliu', 'beat']; fenliu.main()\n"
    )
    given = {"FENLIU_REDIS_URL": f"unix://{tmp_path}/nothing.sock", "FENLIU_DATABASE_URL": "postgresql:///x"}
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, stderr=subprocess.PIPE, text=True,
        env=environment(None, **given, **TICK, PYTHONPATH=str(ROOT)),
    ) as beat:  # fmt: skip
        assert beat.stderr is not None
        assert "Trying again" in beat.stderr.readline()
        beat.terminate()
        assert 0 == beat.wait(5)
    assert [] == list(tmp_path.iterdir())
