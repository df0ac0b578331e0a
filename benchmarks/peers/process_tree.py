"""Memory and processor time of a process and all its children."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil

MIB = 2**20


def peak_rss_mib(pid: int) -> float:
    """Sum of every process' largest resident memory so far, pages they share counted for each; where the system does
    not keep that, of the present one."""
    return sum(_peak_bytes(process) for process in _tree(pid)) / MIB


def pss_mib(pid: int) -> float | None:
    """Present memory with each shared page split among those who share it; None where the system does not tell."""
    found = 0.0
    for process in _tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            memory = process.memory_full_info()
            if not hasattr(memory, "pss"):
                return None
            found += memory.pss
    return found / MIB


def processor_s(pid: int) -> float:
    """Processor time that they have taken so far."""
    found = 0.0
    for process in _tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            found += times.user + times.system
    return found


def _tree(pid: int) -> list[psutil.Process]:
    first = psutil.Process(pid)
    return [first, *first.children(recursive=True)]


def _peak_bytes(process: psutil.Process) -> float:
    status = Path(f"/proc/{process.pid}/status")
    with contextlib.suppress(OSError, ValueError):
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024
    with contextlib.suppress(psutil.NoSuchProcess):
        return float(process.memory_info().rss)
    return 0.0
