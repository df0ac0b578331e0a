"""Take the scripts that the pages need from their npm packages, checked against the hashes in `assets.json`.

`npm pack` downloads a package without running anything of it. What is taken is stored packed, with the licences of
its authors, and committed: neither a browser nor an installation asks the internet for it.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WANTED = Path(__file__).with_name("assets.json")


def main() -> None:
    """Renew every package's files. Ends with 1 if npm is missing or a package is not the one that is expected."""
    if shutil.which("npm") is None:
        sys.exit("npm is needed: install Node.js")
    packages = json.loads(WANTED.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        for name, package in packages.items():
            archive = _download(f"{name}@{package['version']}", Path(folder))
            found = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
            if found != package["integrity"]:
                sys.exit(f"{name} {package['version']} is {found}, and not what assets.json says; nothing was taken")
            _take(archive, package["files"], ROOT / package["into"])
            print(f"{name} {package['version']}: {len(package['files'])} files in {package['into']}")  # noqa: T201


def _download(wanted: str, folder: Path) -> Path:
    command = ["npm", "pack", "--silent", "--pack-destination", str(folder), wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - names from our own file
    if done.returncode:
        sys.exit(f"npm pack {wanted} failed: {done.stderr.strip()}")
    return folder / done.stdout.split()[-1]


def _take(archive: Path, files: dict[str, str], into: Path) -> None:
    """Copy members of an archive; one whose new name ends in .gz is packed, always to the same bytes."""
    into.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive) as package:
        for member, name in files.items():
            source = package.extractfile(f"package/{member}")
            if source is None:
                sys.exit(f"{archive.name} has no file {member}")
            content = source.read()
            (into / name).write_bytes(gzip.compress(content, 9, mtime=0) if name.endswith(".gz") else content)


if __name__ == "__main__":
    main()
