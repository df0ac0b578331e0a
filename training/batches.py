"""Token rows, and the runs they are learned and evaluated in. Learning is `training.loop`'s."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor

from training.network import Network

Rows = npt.NDArray[np.float32]


def encode(tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
    """Token ids with specials, truncated at the end to `max_tokens`."""
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    ids = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    tokenizer.no_truncation()
    return ids


def padded(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Ids [B, T] and mask [B, T] of the longest row's length."""
    longest = max(len(row) for row in rows)
    ids = torch.full((len(rows), longest), pad_id, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row)
        mask[number, : len(row)] = 1
    return ids, mask


def runs_by_length(lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    """Indices in runs of like length, shortest first."""
    order = sorted(range(len(lengths)), key=lambda number: lengths[number])
    for start in range(0, len(order), size):
        yield order[start : start + size]


def shuffled_runs(lengths: Sequence[int], size: int, rng: random.Random) -> list[list[int]]:
    """Random runs whose texts have like lengths: sorted inside random pools of 50 runs, then shuffled."""
    order = list(range(len(lengths)))
    rng.shuffle(order)
    runs: list[list[int]] = []
    for start in range(0, len(order), size * 50):
        pool = sorted(order[start : start + size * 50], key=lambda number: lengths[number])
        runs += [pool[at : at + size] for at in range(0, len(pool), size)]
    rng.shuffle(runs)
    return runs


def autocast(device: str = "cpu") -> torch.autocast:
    """bfloat16 products where the device has them, else float32 throughout."""
    if device == "cuda":
        has = torch.cuda.is_bf16_supported()
    else:
        has = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.autocast(device, torch.bfloat16, enabled=has)


@torch.inference_mode()
def outputs(network: Network, rows: Sequence[Sequence[int]], size: int = 32, device: str = "cpu") -> tuple[Rows, Rows]:
    """Embeddings [N, H] and logits [N, L] of token rows, in their order, in bfloat16."""
    network.eval()
    pad_id = int(network.trunk.config.pad_token_id or 0)
    embeddings: Rows = np.zeros((len(rows), network.hidden), np.float32)
    logits: Rows = np.zeros((len(rows), network.n_labels), np.float32)
    for run in runs_by_length([len(row) for row in rows], size):
        ids, mask = padded([rows[number] for number in run], pad_id)
        with autocast(device):
            output = network(ids.to(device), mask.to(device))
        embeddings[run] = output.embedding.float().cpu().numpy()
        logits[run] = output.logits.float().cpu().numpy()
    return embeddings, logits
