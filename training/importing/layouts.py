"""Key layouts of BERT checkpoints: from any of them to the names of `training.network`'s tensors.

The trunk stands under `bert.`, `encoder.`, another prefix or none; the head is `classifier.*` or `head.classifier.*`;
old files say gamma and beta. Every tensor must find its place and every place its tensor.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from schemas.errors import ModelError
from training.network import Network

_WORDS = "embeddings.word_embeddings.weight"
_POOLER = "pooler.dense."
_HEAD = re.compile(r"(?:head\.)?classifier\.(weight|bias)")
_NO_WEIGHTS = re.compile(r"embeddings\.(position_ids|token_type_ids)")
_PRETRAINING = "cls."
_OLD_NAMES = ((re.compile(r"\.gamma$"), ".weight"), (re.compile(r"\.beta$"), ".bias"))
_MOST_NAMED = 8


@dataclass(frozen=True)
class Layout:
    """A checkpoint's tensors by the names of the network, and the name each has in the file.

    `pretraining`: names of the masked-language-model head that stood beside a trunk without a classifier.
    """

    tensors: Mapping[str, Tensor]
    names: Mapping[str, str]
    prefix: str
    pretraining: tuple[str, ...]

    @property
    def n_labels(self) -> int | None:
        """Rows of the classifier; None if there is none."""
        weight = self.tensors.get("head.out.weight")
        return None if weight is None else int(weight.shape[0])

    @property
    def has_pooler(self) -> bool:
        """Whether BERT's pooling layer is there."""
        return "head.dense.weight" in self.tensors


def layout_of(by_name: Mapping[str, Tensor]) -> Layout:
    """Rename; names that no layout knows stay as they are, for `fill` to report. Raises ModelError if it is no BERT."""
    prefixes = sorted(name.removesuffix(_WORDS) for name in by_name if name.endswith(_WORDS))
    if len(prefixes) != 1:
        shown = ", ".join(sorted(by_name)[:3])
        raise ModelError(
            f"the weights hold {len(prefixes)} tensors named *{_WORDS}; a BERT checkpoint holds one (it begins {shown})"
        )
    prefix = prefixes[0]
    tensors: dict[str, Tensor] = {}
    names: dict[str, str] = {}
    has_classifier = any(_HEAD.fullmatch(name) for name in by_name)
    pretraining = []
    for name, tensor in by_name.items():
        if not has_classifier and name.startswith(_PRETRAINING):
            pretraining.append(name)
            continue
        target = _target(name, prefix)
        if target is None:
            continue
        if target in tensors:
            raise ModelError(f"the weights hold {names[target]} and {name}, which are the same tensor of BERT")
        tensors[target], names[target] = tensor, name
    return Layout(tensors, names, prefix, tuple(sorted(pretraining)))


def _target(name: str, prefix: str) -> str | None:
    """The network's name for a tensor; None for a buffer without weights."""
    for old, new in _OLD_NAMES:
        name = old.sub(new, name)
    head = _HEAD.fullmatch(name)
    if head:
        return f"head.out.{head[1]}"
    if not name.startswith(prefix):
        return f"?{name}"
    inner = name[len(prefix) :]
    if _NO_WEIGHTS.fullmatch(inner):
        return None
    if inner.startswith(_POOLER):
        return f"head.dense.{inner.removeprefix(_POOLER)}"
    return f"trunk.{inner}"


def fill(network: Network, layout: Layout) -> None:
    """Copy the tensors into the network. Raises ModelError that names every tensor missing, unexpected or misshapen.

    A head that the layout has nothing for keeps its own values.
    """
    state = network.state_dict()
    left_out = {part for part in ("head.out.", "head.dense.") if not any(n.startswith(part) for n in layout.tensors)}
    left_out -= {"head.dense."} if layout.n_labels is not None else set()
    wanted = {name for name in state if not name.startswith(tuple(left_out))} if left_out else set(state)
    unexpected = sorted(layout.names[name] for name in layout.tensors.keys() - state.keys())
    missing = sorted(_file_name(name, layout.prefix) for name in wanted - layout.tensors.keys())
    misshapen = [
        f"{layout.names[name]} is {list(tensor.shape)} where config.json makes it {list(state[name].shape)}"
        for name, tensor in sorted(layout.tensors.items())
        if name in state and tensor.shape != state[name].shape
    ]
    problems = [
        f"{what}: {_listed(some)}"
        for what, some in (("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen))
        if some
    ]
    if problems:
        raise ModelError(
            "the tensors do not make the model that config.json describes; "
            + "; ".join(problems)
            + ". Get weights and config.json from the same place, whole"
        )
    network.load_state_dict({**state, **layout.tensors})


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _file_name(name: str, prefix: str) -> str:
    """What a tensor of the network would be called in the file."""
    if name.startswith("head.out."):
        return "classifier." + name.removeprefix("head.out.")
    if name.startswith("head.dense."):
        return prefix + _POOLER + name.removeprefix("head.dense.")
    return prefix + name.removeprefix("trunk.")
