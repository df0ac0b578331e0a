"""Figures into a model's own folder: its manifest's metrics, and the part of its card that says what was measured."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from schemas.errors import SetupError
from schemas.manifest import CARD_FILE, MANIFEST_FILE, read_manifest, write_manifest
from training import card

RESERVED = frozenset(["parity", "tokens", "int8", "batch"])
"""Names of the figures that were checked when the model was made."""
_MEASURED = "## Measured"
_SECTION = re.compile(r"^(?=## )", re.MULTILINE)


def record(folder: Path, name: str, figures: Mapping[str, Any]) -> None:
    """Puts the figures under `name`, in place of earlier ones. Readers see each file as it was or as it will be.

    What else the card says stays. Raises SetupError if the folder cannot be written, ModelError if it is no model's.
    """
    manifest = read_manifest(folder)
    manifest = manifest.model_copy(update={"metrics": {**manifest.metrics, name: dict(figures)}})
    path = folder / CARD_FILE
    try:
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        # Beside the folder and hidden, so that nothing takes it for a version of the model.
        with tempfile.TemporaryDirectory(prefix=".", dir=folder.parent) as scratch:
            write_manifest(Path(scratch), manifest)
            (Path(scratch) / CARD_FILE).write_text(renewed(old, card.describe(manifest)), encoding="utf-8")
            for written in (MANIFEST_FILE, CARD_FILE):
                (Path(scratch) / written).replace(folder / written)
    except OSError as error:
        raise SetupError(f"{folder}: the figures cannot be written: {error.strerror or error}") from error


def renewed(old: str, new: str) -> str:
    """The card `old` with the measured part of `new`; all of `new` where there is no old one."""
    if not old:
        return new
    measured = next(part for part in _SECTION.split(new) if part.startswith(_MEASURED))
    parts = _SECTION.split(old)
    at = next((number for number, part in enumerate(parts) if part.startswith(_MEASURED)), None)
    if at is not None:
        parts[at] = measured
    else:
        parts.insert(len(parts) - 1 if len(parts) > 1 else 1, measured)
    return "".join(part.rstrip("\n") + "\n\n" for part in parts).rstrip("\n") + "\n"
