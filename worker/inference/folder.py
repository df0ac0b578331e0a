"""Model folders on disk: where they are looked for, which there are, and what makes one safe to load.

A folder is `<home>/<name>/<version>/`. What a manifest may say is `schemas.manifest`'s; this module holds it against
the files beside it. Nothing here loads a model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import ModelError
from schemas.manifest import MANIFEST_FILE, MODEL_FILE, NEUTRAL_FILE, Cascade, Manifest, read_manifest, sha256_of
from worker.inference.onnx_file import external_locations

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class Listed:
    """One model folder as a listing shows it. A folder that cannot be read has a `problem` and no manifest."""

    name: str
    version: str
    folder: Path
    manifest: Manifest | None
    problem: str = ""

    @property
    def id(self) -> str:
        """`name/version`."""
        return f"{self.name}/{self.version}"


def shipped_home() -> Path:
    """The home of the models that come with Fenliu."""
    return Path(__file__).resolve().parents[2] / "models"


def model_homes(models_home: Path) -> tuple[Path, ...]:
    """Where models are looked for, in order: `models_home` (imported and trained ones), then the shipped."""
    return models_home, shipped_home()


def find(name_or_id: str, homes: Sequence[Path]) -> Path:
    """The folder of `name/version`, or of the newest version of `name`, in the first home that has it.

    Versions are compared number by number: 1.10 is newer than 1.9. Raises ModelError that names the models there are,
    or says why the folder is not what its path claims.
    """
    name, slash, version = name_or_id.partition("/")
    if not _NAME.fullmatch(name) or (slash and not _NAME.fullmatch(version)):
        raise ModelError(f"{name_or_id!r} is no model name; give name or name/version. {_known(homes)}")
    for home in homes:
        versions = [version] if version else sorted(_subfolders(home / name), key=_natural)
        for candidate in reversed(versions):
            folder = home / name / candidate
            if (folder / MANIFEST_FILE).is_file():
                _same_identity(folder, name, candidate)
                return folder
    raise ModelError(f"there is no model {name_or_id!r}. {_known(homes)}")


def list_models(homes: Sequence[Path]) -> list[Listed]:
    """Every model folder in `homes`, by name, newest version first; a home hides the same id in later homes.

    Only manifests are read: `check` is what holds the files against them.
    """
    seen: dict[str, Listed] = {}
    for home in homes:
        for name in _subfolders(home):
            for version in _subfolders(home / name):
                folder = home / name / version
                if (folder / MANIFEST_FILE).is_file():
                    listed = _listed(folder, name, version)
                    seen.setdefault(listed.id, listed)
    newest_first = sorted(seen.values(), key=lambda listed: _natural(listed.version), reverse=True)
    return sorted(newest_first, key=lambda listed: listed.name)


def check(folder: Path) -> Manifest:
    """The manifest of a folder that may be loaded.

    Raises ModelError with the reason: an unknown or wrong manifest field, a file that is missing or has another sha256,
    centring data without a sha256, or a graph that reads files which the manifest does not vouch for.
    """
    manifest = read_manifest(folder)
    for name, digest in manifest.files.items():
        path = folder / name
        if path.exists() and not path.is_file():
            raise ModelError(f"{path}: is no file; the manifest lists it")  # reading a device or pipe may have no end
        try:
            found = sha256_of(path)
        except OSError as error:
            raise ModelError(f"{path}: {error.strerror or error}; the manifest lists it") from error
        if found != digest:
            raise ModelError(f"{path}: its sha256 is {found}, the manifest says {digest}; get the folder again")
    if (folder / NEUTRAL_FILE).exists() and NEUTRAL_FILE not in manifest.files:
        raise ModelError(f"{folder / NEUTRAL_FILE}: changes scores, yet the manifest has no sha256 of it")
    for location in () if manifest.cascade else sorted(external_locations(folder / MODEL_FILE)):
        # A plain name only: ONNX Runtime gives some paths with slashes a meaning of their own (memory addresses).
        if "/" in location or "\\" in location or location not in manifest.files:
            raise ModelError(
                f"{folder / MODEL_FILE}: reads the external data {location!r:.200}, which is no file of the manifest"
            )
    return manifest


def parts(folder: Path, cascade: Cascade) -> tuple[Path, Path]:
    """Folders of a cascade's encoder and pair model: beside its own, else shipped. Raises ModelError."""
    homes = model_homes(folder.parent.parent)
    return find(cascade.encoder, homes), find(cascade.pair, homes)


def size_bytes(folder: Path, manifest: Manifest) -> int:
    """What the files of the manifest take on disk; missing files count nothing, nor a cascade's two models."""
    return sum((folder / name).stat().st_size for name in manifest.files if (folder / name).is_file())


def _same_identity(folder: Path, name: str, version: str) -> Manifest:
    manifest = read_manifest(folder)
    if manifest.id != f"{name}/{version}":
        raise ModelError(f"{folder}: its manifest says it is {manifest.id}; rename the folder to match")
    return manifest


def _listed(folder: Path, name: str, version: str) -> Listed:
    try:
        return Listed(name, version, folder, _same_identity(folder, name, version))
    except ModelError as error:
        return Listed(name, version, folder, None, str(error))


def _known(homes: Sequence[Path]) -> str:
    ids = [listed.id for listed in list_models(homes)]
    places = ", ".join(str(home) for home in homes)
    return f"Known: {', '.join(ids)}" if ids else f"No model is in {places}"


def _subfolders(folder: Path) -> Iterator[str]:
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            if path.is_dir() and _NAME.fullmatch(path.name):
                yield path.name


def _natural(version: str) -> list[tuple[int, int, str]]:
    """Sort key under which 1.10 comes after 1.9, and 1.0 after 1.0rc1."""
    parts = re.findall(r"\d+|[A-Za-z]+", version)
    return [(1, int(part), "") if part.isdigit() else (-1, 0, part) for part in parts] + [(0, 0, "")]
