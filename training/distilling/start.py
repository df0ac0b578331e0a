"""What a student begins as: its teacher's weights cut to its shape, or random ones."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Literal

import torch

from training.narrow import Shape, Start, empty, leading_of, narrow, shape_of
from training.network import Network
from training.shrink import shrink


def begin(
    teacher: Network, shape: Shape, how: Literal["teacher", "random"], rows: Sequence[Sequence[int]], seed: int
) -> Start:
    """A student and the basis its states are held to. Where width and heads stay, `training.shrink` takes layers whole,
    else `training.narrow` cuts them; a random student gets the basis alone. `rows`: of ordinary texts."""
    had = shape_of(teacher)
    if how == "random":
        torch.manual_seed(seed)
        return Start(empty(teacher, shape), leading_of(teacher, shape, rows))
    if (had.hidden, had.heads) == (shape.hidden, shape.heads):
        return Start(shrink(teacher, shape.layers, shape.ffn), torch.eye(had.hidden))
    return narrow(teacher, shape, rows)


def with_pieces(network: Network, ids: Sequence[int]) -> Network:
    """A copy whose vocabulary is these rows of the old one, in this order."""
    made = copy.deepcopy(network)
    table = made.trunk.embeddings.word_embeddings
    pad = int(made.trunk.config.pad_token_id or 0)
    at = ids.index(pad) if pad in ids else 0
    rows = torch.nn.Embedding(len(ids), made.hidden, padding_idx=at)
    rows.weight.data.copy_(table.weight.detach()[list(ids)])
    made.trunk.embeddings.word_embeddings = rows
    made.trunk.config.vocab_size, made.trunk.config.pad_token_id = len(ids), at
    return made
