"""The account the embedded PostgreSQL runs under. It refuses to run as root, so root lends it another one.

Nothing on the machine is changed for it: no account is made, no folder above ours gets other permissions.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.errors import SetupError

_CANDIDATES = ("postgres", "nobody")


@dataclass(frozen=True, slots=True)
class Account:
    """Who PostgreSQL runs as: ourselves (`uid` is None), or another account when we are root."""

    uid: int | None = None
    gid: int | None = None

    def popen_arguments(self) -> dict[str, Any]:
        """What `subprocess.Popen` needs to run as this account."""
        return {} if self.uid is None else {"user": self.uid, "group": self.gid, "extra_groups": []}

    def path_of_cwd(self, cwd: Path) -> str:
        """A name for a process's own working folder.

        The account may not be allowed to walk to a folder inside root's private ones. A process started in it
        can still name it: Linux resolves /proc/self/cwd without walking.
        """
        return "/proc/self/cwd" if self.uid is not None and sys.platform == "linux" else str(cwd)


def choose(data: Path) -> Account:
    """Ourselves, or as root the owner of existing data, else `postgres`, else `nobody`. Raises SetupError."""
    if os.geteuid() != 0:
        return Account()
    if data.exists() and data.stat().st_uid != 0:
        owner = data.stat()
        return Account(owner.st_uid, owner.st_gid)
    for name in _CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise SetupError("PostgreSQL refuses to run as root, and there is no account `nobody`: run as another user")


def give(folder: Path, account: Account) -> None:
    """Make the account own a folder of ours."""
    if account.uid is not None and folder.stat().st_uid != account.uid:
        os.chown(folder, account.uid, account.gid or -1)
    elif folder.stat().st_uid != os.geteuid() and account.uid is None:
        raise SetupError(f"{folder} belongs to another user: run as that user, or remove it to start empty")


def reachable_binaries(package: Path, scratch: Path, account: Account) -> Path:
    """The folder of `postgres` and `initdb`: in the package, or a copy in `scratch` where only root can walk there."""
    binaries = package / "pginstall" / "bin"
    if account.uid is None:
        return binaries
    scratch.chmod(0o711)
    if _open_to_others(binaries / "postgres"):
        return binaries
    copy = scratch / "site"
    if not copy.exists():
        shutil.copytree(
            package / "pginstall", copy / package.name / "pginstall", ignore=shutil.ignore_patterns("include")
        )
        for libraries in package.parent.glob(f"{package.name}.libs"):
            shutil.copytree(libraries, copy / libraries.name)
        for path in [copy, *copy.rglob("*")]:
            path.chmod(stat.S_IMODE(path.stat().st_mode) | (0o755 if path.is_dir() else 0o444 | _executable(path)))
    return copy / package.name / "pginstall" / "bin"


def _executable(path: Path) -> int:
    return 0o111 if path.stat().st_mode & stat.S_IXUSR else 0


def _open_to_others(path: Path) -> bool:
    """Whether everyone may read and run this file, and walk to it."""
    wanted = stat.S_IROTH | stat.S_IXOTH
    return path.stat().st_mode & wanted == wanted and all(
        folder.stat().st_mode & stat.S_IXOTH for folder in path.resolve().parents
    )
