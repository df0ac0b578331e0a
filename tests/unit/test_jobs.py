"""Jobs beside the worker: started, logged, collected, ended."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from schemas.settings import Settings
from tests.conftest import ROOT
from worker.desk.schedules import Launch
from worker.jobs import Jobs

LAUNCH = Launch("settings", ("settings",), 7)


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    jobs = Jobs(Settings(home=tmp_path, tick_s=7.5, prefix="other"))
    yield jobs
    jobs.end()


def children() -> set[psutil.Process]:
    return set(psutil.Process().children())


def until_collected() -> None:
    """Every job is waited for by a thread of its own."""
    for thread in threading.enumerate():
        if thread.name.startswith("job "):
            thread.join(60)


def test_a_job_has_the_workers_settings_a_log_and_leaves_no_zombie(jobs: Jobs, tmp_path: Path) -> None:
    # Given settings that do not come from the environment, when a job is started
    before = children()
    assert jobs.start(LAUNCH)
    until_collected()
    # Then its log says what it did with them, and its process is gone
    log = (tmp_path / "logs" / "settings.log").read_text()
    assert (True, True) == ("7.5" in log, "other" in log)
    assert set() == children() - before


def test_a_job_ends_with_its_worker_and_none_starts_after(jobs: Jobs) -> None:
    # Given a job that has only just begun
    before = children()
    assert jobs.start(LAUNCH)
    # When the worker stops, then what still runs is told and ended
    assert [LAUNCH] == jobs.end()
    until_collected()
    assert set() == children() - before
    assert not jobs.start(LAUNCH)


def test_a_log_that_cannot_be_written_is_said_and_harms_nobody(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file")
    assert not Jobs(Settings(home=tmp_path)).start(LAUNCH)


def test_a_job_ends_with_a_worker_that_is_killed(tmp_path: Path) -> None:
    # Given a worker with a job that would never end by itself: a clock whose broker is away
    worker = """
import pathlib, sys, time
from schemas.settings import Settings
from worker.desk.schedules import Launch
from worker.jobs import Jobs
away = {"redis_url": "redis://127.0.0.1:1/0", "database_url": "postgresql://127.0.0.1:1/none"}
Jobs(Settings(home=pathlib.Path(sys.argv[1]), **away)).start(Launch("clock", ("beat",)))
print("started", flush=True)
time.sleep(600)
"""
    command = [sys.executable, "-c", worker, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, env=dict(os.environ), stdout=subprocess.PIPE) as started:
        assert started.stdout
        while b"started" not in (line := started.stdout.readline()):
            assert line, "it could not start the job"
        [job] = psutil.Process(started.pid).children()
        # When the worker is killed, then its job is gone, too
        started.kill()
    gone, alive = psutil.wait_procs([job], timeout=60)
    for each in alive:
        each.kill()
    assert ([job], []) == (gone, alive)
