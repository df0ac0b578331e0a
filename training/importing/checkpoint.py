"""The tensors of a checkpoint: from safetensors or `pytorch_model.bin`, whole or in shards, and nothing but tensors.

What the tensors' names mean is `training.importing.layouts`'.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from schemas.errors import ModelError
from schemas.manifest import sha256_of

SAFETENSORS, PICKLED = "model.safetensors", "pytorch_model.bin"
_INDEX = ".index.json"
_WANTED = (SAFETENSORS, SAFETENSORS + _INDEX, PICKLED, PICKLED + _INDEX)


@dataclass(frozen=True)
class Tensors:
    """FP32 (or integer) tensors by the names they have in the files; `digests`: sha256 of each file read."""

    by_name: Mapping[str, Tensor]
    digests: Mapping[str, str]


def read_tensors(folder: Path) -> Tensors:
    """Every tensor of the folder; safetensors are taken before a pickle.

    Raises ModelError that names the file: none there, a shard missing, or a pickle that holds more than tensors.
    """
    found = next((name for name in _WANTED if (folder / name).is_file()), None)
    if found is None:
        others = sorted(path.name for path in folder.iterdir() if path.suffix in (".h5", ".msgpack", ".ckpt", ".pt"))
        raise ModelError(
            f"{folder}: has no weights: none of {', '.join(_WANTED)}"
            + (f" (only {', '.join(others)}, which cannot be read)" if others else "")
            + "; get one of them from where the folder comes from"
        )
    paths = _shards(folder / found) if found.endswith(_INDEX) else [folder / found]
    tensors: dict[str, Tensor] = {}
    for path in paths:
        part = _of_safetensors(path) if path.suffix == ".safetensors" else _of_pickle(path)
        twice = sorted(tensors.keys() & part.keys())
        if twice:
            raise ModelError(f"{path}: holds {twice[0]}, which another shard holds as well; get the files again")
        tensors |= part
    return Tensors(
        {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()},
        {path.name: sha256_of(path) for path in paths},
    )


def _shards(index: Path) -> list[Path]:
    try:
        places = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        names = sorted(set(places))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{index}: is no index of shards: {error!r}; get the file again") from error
    for name in names:
        if not isinstance(name, str) or Path(name).name != name:
            raise ModelError(f"{index}: names the shard {name!r}, which is no file beside it")
        if not (index.parent / name).is_file():
            raise ModelError(f"{index.parent / name}: is missing; {index.name} lists it: get the file too")
    return [index.parent / name for name in names]


def _of_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: cannot be read as safetensors: {error}; get the file again") from error


def _of_pickle(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises its own, pickle's, zip's and Python's errors here
        first_line = str(error).partition("\n")[0]
        raise ModelError(
            f"{path}: is not a file of tensors only, and anything more is not loaded because it could run code "
            f"({type(error).__name__}: {first_line:.200}). Get it again; or, where you trust it, save its state_dict "
            f"as {SAFETENSORS} and import that"
        ) from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: holds a {type(content).__name__}, not tensors by name; save the state_dict alone")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ModelError(
                f"{path}: holds {name!r} ({type(value).__name__}), which is no tensor; save the state_dict alone"
            )
    return content
