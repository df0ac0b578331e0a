"""Who works on a backfill: a name that tells whether its process still lives, if that is on this machine."""

from __future__ import annotations

import os
import socket
import uuid
from pathlib import Path

LEASE_MS = 30_000


def my_name() -> str:
    """A name no other run has: `host boot pid-namespace pid random`."""
    return f"{_here()} {os.getpid()} {uuid.uuid4().hex[:12]}"


def is_dead(name: str) -> bool:
    """Whether the process of this name is known to have ended; False where nobody can tell."""
    here, _, rest = name.rpartition(" ")[0].rpartition(" ")
    if here != _here() or not rest.isdigit():
        return False
    try:
        os.kill(int(rest), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return _is_zombie(int(rest))


def shown(name: str) -> str:
    """For people: host and process."""
    parts = name.split(" ")
    return f"process {parts[-2]} on {parts[0]}" if len(parts) >= 2 else name


def _here() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        boot = space = "-"
    return f"{socket.gethostname().replace(' ', '_')} {boot} {space}"


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return False
