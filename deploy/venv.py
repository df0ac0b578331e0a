"""Make a virtual environment from a lock file: `python3 deploy/venv.py FOLDER LOCK [REQUIREMENT ...]`.

Does nothing when the environment already is what the lock says. Several at once wait for each other; one that
was cut short is made anew. Standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main(folder: str, lock_name: str, *requirements: str) -> None:
    """Make or bring up to date the environment in `folder`; `requirements` are installed before the lock."""
    venv, lock = ROOT / folder, ROOT / lock_name
    packages = venv / f"{lock.stem}.stamp", _digest(lock.read_bytes(), sys.version.encode(), *_encoded(requirements))
    project = venv / "project.stamp", _digest((ROOT / "pyproject.toml").read_bytes(), os.fsencode(ROOT))
    with _only_one(ROOT / f"{folder}.lock"):
        if _is(*packages) and _is(*project) and _works(venv):
            return
        unfinished = venv / "unfinished"
        if unfinished.exists() or not _works(venv):
            _say(f"making {folder}")
            _run([sys.executable, "-m", "venv", "--clear", str(venv)], _NO_VENV)
        unfinished.touch()
        if not _is(*packages):
            _say(f"installing {lock_name} into {folder}")
            if requirements:
                _pip(venv, *requirements)
            _pip(venv, "--require-hashes", "-r", str(lock))
            packages[0].write_text(packages[1], encoding="ascii")
        if not _is(*project):
            _pip(venv, "--no-deps", "--no-build-isolation", "-e", str(ROOT))
            project[0].write_text(project[1], encoding="ascii")
        unfinished.unlink()


_NO_VENV = "python3 has no working venv module; on Debian and Ubuntu: apt-get install python3-venv"


def _pip(venv: Path, *arguments: str) -> None:
    command = [str(venv / "bin" / "python"), "-m", "pip", "install", "-qq", "--disable-pip-version-check", *arguments]
    _run(command, "pip could not install; its message is above. Run the same command again to try again")


def _run(command: list[str], hint: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONHOME", "PIP_USER"}}
    if subprocess.run(command, env=environment, check=False).returncode != 0:  # noqa: S603 - ours
        sys.exit(f"error: {hint}")


def _works(venv: Path) -> bool:
    """Whether the environment's interpreter still runs: the one it was made from may have been removed."""
    try:
        done = subprocess.run(  # noqa: S603 - ours
            [str(venv / "bin" / "python"), "-c", "import pip"], capture_output=True, check=False
        )
    except OSError:
        return False
    return done.returncode == 0


def _is(stamp: Path, digest: str) -> bool:
    return stamp.exists() and stamp.read_text(encoding="ascii") == digest


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _encoded(texts: tuple[str, ...]) -> list[bytes]:
    return [text.encode() for text in texts]


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    with lock.open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("waiting for another install to finish")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _say(message: str) -> None:
    print(message, flush=True)  # noqa: T201 - a command's output


if __name__ == "__main__":
    main(*sys.argv[1:])
