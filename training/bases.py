"""What a base is: a network with pretrained weights, its tokenizer, and what is known of both, to train on from.

A base is given as the name of a model, or as a folder: a model folder (its `torch/`, or else the weights of its graph),
a base folder that `fenliu train adapt` wrote, either one's `torch/`, or a transformers folder.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import nn

from schemas.errors import ModelError
from schemas.manifest import MANIFEST_FILE, MODEL_FILE, TOKENIZER_FILE, ModelKind, Source
from training import network
from training.graph_weights import read_network
from training.importing.importer import UNKNOWN_LICENCE
from training.importing.reader import read_checkpoint
from training.network import Network
from worker.inference.folder import check, find
from worker.inference.tokenizer import TextTokenizer

TORCH_FOLDER = "torch"
BASE_FILE = "base.json"
DEFAULT_MAX_TOKENS = 128


@dataclass(frozen=True)
class Base:
    """`labels`: of the head, in logit order; empty where the head means nothing for classification."""

    name: str
    network: Network
    tokenizer: Tokenizer
    labels: tuple[str, ...]
    max_tokens: int
    source: Source
    way: str
    """Where the weights came from, in words."""

    @property
    def pad_id(self) -> int:
        """The id that fills up short rows."""
        return int(self.network.trunk.config.pad_token_id or 0)


def load_base(base: str, homes: Sequence[Path], bases_home: Path) -> Base:
    """The base that is meant by a path, by a name in `bases_home`, or by the name of a model in `homes`.

    Raises ModelError that says what the folder lacks.
    """
    folder = Path(base)
    if not folder.is_dir():
        adapted = bases_home / base
        folder = adapted if (adapted / BASE_FILE).is_file() else find(base, homes)
    if (folder / network.CONFIG_FILE).is_file() and _is_ours(folder):
        folder = folder.resolve().parent
    if (folder / MANIFEST_FILE).is_file():
        return _of_model(folder)
    if (folder / BASE_FILE).is_file():
        return _of_base_folder(folder)
    if (folder / network.CONFIG_FILE).is_file():
        return _of_checkpoint(folder)
    raise ModelError(
        f"{folder}: is no base: it has no {MANIFEST_FILE} (a model), no {BASE_FILE} (of `fenliu train adapt`) and no "
        f"{network.CONFIG_FILE} (a transformers folder)"
    )


def token_limit(base: Base, wanted: int | None) -> int:
    """Most tokens of a text, specials included. Raises ModelError if the base has no positions for what is wanted."""
    positions = int(base.network.trunk.config.max_position_embeddings)
    if wanted is None:
        return min(base.max_tokens, positions, DEFAULT_MAX_TOKENS)
    if wanted > positions:
        raise ModelError(f"--max-tokens: {wanted} is over the {positions} positions of {base.name}")
    return wanted


def with_labels(base: Base, labels: Sequence[str], seed: int) -> Network:
    """The base's network with a head for `labels`, in this order.

    A head for the same labels is kept, in their new order; of any other head the last layer is made anew.
    """
    net = base.network
    if sorted(base.labels) == sorted(labels):
        order = [base.labels.index(label) for label in labels]
        out = net.head.out
        out.weight.data, out.bias.data = out.weight.data[order].clone(), out.bias.data[order].clone()
        return net
    torch.manual_seed(seed)
    head = network.new_head(network.head_kind(net.head), net.hidden, len(labels))
    head.dense.load_state_dict(net.head.dense.state_dict())
    nn.init.normal_(head.out.weight, std=float(net.trunk.config.initializer_range))
    nn.init.zeros_(head.out.bias)
    return Network(net.trunk, head)


def save_base(folder: Path, base: Base, trained: Network) -> None:
    """Writes a folder that `load_base` reads: `torch/`, the tokenizer and what is known of them."""
    network.save(trained, folder / TORCH_FOLDER)
    base.tokenizer.save(str(folder / TOKENIZER_FILE))
    known = {"name": base.name, "max_tokens": base.max_tokens, "source": base.source.model_dump()}
    (folder / BASE_FILE).write_text(json.dumps(known, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def _of_model(folder: Path) -> Base:
    manifest = check(folder)
    path = folder / TOKENIZER_FILE
    if (folder / TORCH_FOLDER).is_dir():
        net, way = _load_torch(folder / TORCH_FOLDER), f"{manifest.id}, its {TORCH_FOLDER}/"
    else:
        net = read_network(folder / MODEL_FILE, TextTokenizer.load(path).pad_id)
        way = f"{manifest.id}, its weights taken back from {MODEL_FILE} ({manifest.quantization})"
    labels = manifest.labels if ModelKind.CLASSIFIER in manifest.kind and len(manifest.labels) == net.n_labels else ()
    return Base(manifest.id, net, _tokenizer(path), labels, manifest.max_tokens, manifest.source, way)


def _of_base_folder(folder: Path) -> Base:
    try:
        known = json.loads((folder / BASE_FILE).read_text(encoding="utf-8"))
        name, max_tokens, source = str(known["name"]), int(known["max_tokens"]), Source(**known["source"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder / BASE_FILE}: cannot be read: {error!r}") from error
    tokenizer = _tokenizer(folder / TOKENIZER_FILE)
    return Base(name, _load_torch(folder / TORCH_FOLDER), tokenizer, (), max_tokens, source, f"{name}, adapted")


def _load_torch(folder: Path) -> Network:
    try:
        return network.load(folder)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(f"{folder}: cannot be loaded: {error}") from error


def _is_ours(folder: Path) -> bool:
    try:
        found = json.loads((folder / network.CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder / network.CONFIG_FILE}: cannot be read: {error}") from error
    return isinstance(found, dict) and any(name.startswith("fenliu_") for name in found)


def _of_checkpoint(folder: Path) -> Base:
    found = read_checkpoint(folder)
    labels = found.labels if found.kind is ModelKind.CLASSIFIER else ()
    source = Source(description=f"checkpoint {folder.resolve().name}", licence=UNKNOWN_LICENCE)
    way = f"the checkpoint in {folder}"
    return Base(folder.resolve().name, found.network, found.tokenizer, labels, found.max_tokens, source, way)


def _tokenizer(path: Path) -> Tokenizer:
    if not path.is_file():
        raise ModelError(f"{path}: is missing")
    return Tokenizer.from_file(str(path))
