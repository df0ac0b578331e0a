"""Recognising processes by more than their pid."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys

import pytest

from worker import processes

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"


def test_a_living_process_is_recognised_and_another_with_its_pid_is_not() -> None:
    # Given the note of a living process
    mine = processes.record(os.getpid())
    # When nothing has changed, then it is found
    assert processes.find(mine) is not None
    # When the pid has been given to a process that started at another time, or after a reboot, then it is not
    assert processes.find(dataclasses.replace(mine, started_s=mine.started_s - 5)) is None
    assert processes.find(dataclasses.replace(mine, boot="another")) is None


def test_an_ended_process_is_not_found() -> None:
    # Given
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        recorded = processes.record(process.pid)
        # When it ends, but nobody has asked how
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        # Then
        assert processes.find(recorded) is None
    # When somebody has
    assert processes.find(recorded) is None
    with pytest.raises(ProcessLookupError):
        processes.record(process.pid)


def test_a_process_that_does_not_stop_when_asked_is_killed() -> None:
    # Given a process that ignores SIGTERM
    with subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        recorded = processes.record(process.pid)
        # When it is stopped
        asked = processes.stop(recorded, signal.SIGTERM, patience_s=0.2)
        # Then it is gone all the same, and the caller knows
        assert (False, None) == (asked, processes.find(recorded))
