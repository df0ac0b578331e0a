"""Writes a model folder: graph, tokenizer, neutral texts, manifest, card.

What a manifest may say is schemas.manifest's. The folder is written beside its place and then moved, so that a reader
finds the old one or the new one, whole.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from schemas.manifest import (
    CARD_FILE,
    MODEL_FILE,
    NEUTRAL_FILE,
    TOKENIZER_FILE,
    Manifest,
    sha256_of,
    write_manifest,
)

NEUTRAL_TEXTS_FILE = "neutral.txt"


@dataclass(frozen=True)
class Contents:
    """All that a folder holds besides its manifest. `neutral`: mean embedding [H] of `neutral_texts`; `extra`: other
    files by name."""

    graph: onnx.ModelProto
    tokenizer: Path
    neutral_texts: Sequence[str]
    neutral: npt.NDArray[np.float32]
    card: str
    extra: Mapping[str, bytes] = field(default_factory=dict)


def write(folder: Path, contents: Contents, manifest: Manifest) -> Manifest:
    """Replaces `folder`; returns the manifest with the sha256 of each file filled in."""
    scratch = folder.with_name(f".{folder.name}.{os.getpid()}")
    if scratch.exists():
        shutil.rmtree(scratch)
    scratch.mkdir(parents=True)
    onnx.save(contents.graph, scratch / MODEL_FILE)
    shutil.copyfile(contents.tokenizer, scratch / TOKENIZER_FILE)
    (scratch / NEUTRAL_TEXTS_FILE).write_text("\n".join(contents.neutral_texts) + "\n", encoding="utf-8")
    np.save(scratch / NEUTRAL_FILE, contents.neutral.astype(np.float32)[None, :])
    (scratch / CARD_FILE).write_text(contents.card, encoding="utf-8")
    for name, content in contents.extra.items():
        (scratch / name).write_bytes(content)
    files = {path.name: sha256_of(path) for path in sorted(scratch.iterdir()) if path.name != CARD_FILE}
    manifest = manifest.model_copy(update={"files": files})
    write_manifest(scratch, manifest)
    if folder.exists():
        shutil.rmtree(folder)
    scratch.replace(folder)
    return manifest


def placeholder_digests() -> dict[str, str]:
    """Digests that satisfy a manifest until `write` fills in the real ones."""
    return {MODEL_FILE: "0" * 64, TOKENIZER_FILE: "0" * 64}
