"""What a network makes of sample texts: the states of its layers at real tokens, for whoever cuts a smaller one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers.models.bert.modeling_bert import BertLayer

from training.batches import padded, runs_by_length
from training.network import Network, masked_mean

SAMPLE_TOKENS = 4096
_RUN_TEXTS = 32


@dataclass(frozen=True)
class LayerStates:
    """States of a teacher layer's real tokens [N, H]: before it, between its two blocks, after it."""

    number: int
    before: Tensor
    middle: Tensor
    after: Tensor


@dataclass(frozen=True)
class Seen:
    """What the teacher made of the sample: padded runs, the states of its kept layers, first and mean states."""

    runs: list[tuple[Tensor, Tensor]]
    embedded: Tensor
    layers: list[LayerStates]
    first: Tensor
    mean: Tensor

    def real(self, parts: Sequence[Tensor]) -> Tensor:
        """Padded states [B, T, H] of every run as those of real tokens [N, H]."""
        return real(parts, [mask for _, mask in self.runs])

    def all_states(self) -> list[Tensor]:
        """Everything that a basis should hold."""
        return [
            self.embedded,
            *(part for one in self.layers for part in (one.middle, one.after)),
            self.first,
            self.mean,
        ]


def watch(network: Network, kept: Sequence[int], rows: Sequence[Sequence[int]]) -> Seen:
    """Runs the first `SAMPLE_TOKENS` of the rows through a network in evaluation; `kept` names its layers to watch."""
    pad_id = int(network.trunk.config.pad_token_id or 0)
    sizes = np.cumsum([len(row) for row in rows])
    chosen = rows[: int(np.searchsorted(sizes, SAMPLE_TOKENS)) + 1]
    runs = [
        padded([chosen[number] for number in run], pad_id)
        for run in runs_by_length([len(row) for row in chosen], _RUN_TEXTS)
    ]
    masks = [mask for _, mask in runs]
    states = [network.trunk.embeddings(input_ids=ids) for ids, _ in runs]
    embedded, layers = real(states, masks), []
    for number, layer in enumerate(network.trunk.encoder.layer):
        assert isinstance(layer, BertLayer)  # noqa: S101 - says what the list holds
        before, middle = states, list[Tensor]()
        handle = layer.attention.register_forward_hook(lambda _, __, output, into=middle: into.append(output[0]))
        states = [layer(part, mask[:, None, None, :].bool()) for part, mask in zip(states, masks, strict=True)]
        handle.remove()
        if number in kept:
            layers.append(LayerStates(number, real(before, masks), real(middle, masks), real(states, masks)))
    means = [masked_mean(part, mask) for part, mask in zip(states, masks, strict=True)]
    return Seen(runs, embedded, layers, torch.cat([part[:, 0] for part in states]), torch.cat(means))


def real(parts: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
    """Padded states [B, T, H] of every run as those of real tokens [N, H]."""
    return torch.cat([part[mask.bool()] for part, mask in zip(parts, masks, strict=True)])
