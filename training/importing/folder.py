"""A checkpoint's folder: its JSON files, read and held against nothing yet.

ModelScope writes `configuration.json` beside `config.json`; transformers does not. What the fields mean for the
architecture, the labels and the tokenizer is for the modules of those names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.errors import ModelError

CONFIG, CONFIGURATION = "config.json", "configuration.json"
LABEL_MAPPING, TOKENIZER_CONFIG = "label_mapping.json", "tokenizer_config.json"

Fields = Mapping[str, Any]


@dataclass(frozen=True)
class CheckpointFolder:
    """The JSON files of a folder; one that is not there is empty, and `label_mapping` None."""

    path: Path
    config: Fields
    configuration: Fields
    tokenizer_config: Fields
    label_mapping: Fields | None

    @property
    def is_modelscope(self) -> bool:
        """Whether ModelScope's pipelines would run it."""
        return bool(self.configuration)

    @property
    def model(self) -> Fields:
        """`model` of configuration.json."""
        return _inner(self.configuration, "model")

    @property
    def backbone(self) -> Fields:
        """`model.backbone` of configuration.json: what ModelScope's task models take instead of config.json."""
        return _inner(self.model, "backbone")

    @property
    def preprocessor(self) -> Fields:
        """What ModelScope makes its preprocessor of at inference: `preprocessor`, or its part `val`."""
        whole = _inner(self.configuration, "preprocessor")
        return whole if "type" in whole or "val" not in whole else _inner(whole, "val")


def open_folder(path: Path) -> CheckpointFolder:
    """Read a folder's JSON files. Raises ModelError that names the file, and what to do if there is no config."""
    if not path.is_dir():
        raise ModelError(f"{path}: is a file; give the folder that holds it with its config.json and vocab.txt")
    files = {name: _read(path / name) for name in (CONFIG, CONFIGURATION, LABEL_MAPPING, TOKENIZER_CONFIG)}
    folder = CheckpointFolder(
        path,
        config=files[CONFIG] or {},
        configuration=files[CONFIGURATION] or {},
        tokenizer_config=files[TOKENIZER_CONFIG] or {},
        label_mapping=files[LABEL_MAPPING],
    )
    if not folder.config and not folder.backbone:
        raise ModelError(
            f"{path}: has no {CONFIG}, nor a {CONFIGURATION} with model.backbone; get it from where the weights are"
        )
    return folder


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read as JSON: {error}; get the file again") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: must hold an object, not {type(content).__name__}; get the file again")
    return content


def _inner(fields: Fields, name: str) -> Fields:
    value = fields.get(name)
    return value if isinstance(value, Mapping) else {}
