"""The note that a running embedded stack keeps in its home, and settings that are filled from it.

Only what other processes read. Starting, watching and stopping the servers is `worker.supervisor`'s.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from schemas.errors import SetupError
from schemas.settings import Settings


@dataclass(frozen=True, slots=True)
class Recorded:
    """A process as it can be told from a later one that got the same pid.

    `started` counts from the boot that `boot` names where the system tells it (Linux), so that setting the
    clock changes neither; elsewhere it is the time of day.
    """

    pid: int
    started_s: float
    boot: str


@dataclass(frozen=True, slots=True)
class Stack:
    """What runs in one home. A URL is empty where that server is not an embedded one."""

    ready: bool = False
    redis_url: str = ""
    database_url: str = ""
    sockets: str = ""
    supervisor: Recorded | None = None
    children: dict[str, Recorded] = field(default_factory=dict)


def run_folder(home: Path) -> Path:
    """Where the lock, the note and, if the path is short enough, the sockets are."""
    return home / "run"


def lock_file(home: Path) -> Path:
    """Held (flock) by the one supervisor of a home for as long as it lives."""
    return run_folder(home) / "lock"


def stack_file(home: Path) -> Path:
    """The note itself."""
    return run_folder(home) / "stack.json"


def read_stack(home: Path) -> Stack | None:
    """What the note says, whether or not it is still true; None if there is none that can be read."""
    try:
        content = json.loads(stack_file(home).read_text(encoding="utf-8"))
        supervisor = content.pop("supervisor")
        children = {name: Recorded(**child) for name, child in content.pop("children").items()}
        return Stack(supervisor=Recorded(**supervisor) if supervisor else None, children=children, **content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write_stack(home: Path, stack: Stack) -> None:
    """Replace the note in one step, so that no reader sees half of it."""
    path = stack_file(home)
    draft = path.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps(asdict(stack), indent=1), encoding="utf-8")
    draft.replace(path)


def is_supervised(home: Path) -> bool:
    """Whether a supervisor lives in this home: its lock vanishes with it, however it ends."""
    try:
        with lock_file(home).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def running_stack(home: Path) -> Stack | None:
    """The stack that runs in this home and is ready for work, or None."""
    stack = read_stack(home) if is_supervised(home) else None
    return stack if stack and stack.ready else None


def connected(settings: Settings) -> Settings:
    """`settings` with both URLs: those that are set, else those of the stack running in `settings.home`.

    Raises SetupError that says what to do if a URL is missing and no stack runs.
    """
    if settings.redis_url and settings.database_url:
        return settings
    stack = running_stack(settings.home)
    redis_url = settings.redis_url or (stack.redis_url if stack else "")
    database_url = settings.database_url or (stack.database_url if stack else "")
    if redis_url and database_url:
        return settings.model_copy(update={"redis_url": redis_url, "database_url": database_url})
    missing = [
        name for name, url in (("FENLIU_REDIS_URL", redis_url), ("FENLIU_DATABASE_URL", database_url)) if not url
    ]
    raise SetupError(
        f"no stack is running in {settings.home}: start one with `fenliu up --detach`, or set {' and '.join(missing)}"
    )
