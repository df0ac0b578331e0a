"""What the teacher makes of every text, worked out once and kept on disk: embeddings, logits, states of its layers.

Whole states would take gigabytes. Kept are those of `POSITIONS` tokens of each text, the first one among them, in half
precision, in a file that is mapped and never read whole.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from training.batches import autocast, padded, runs_by_length
from training.loop import Say
from training.network import Network, Output, masked_mean

POSITIONS = 4
_RUN_TEXTS = 32
Rows = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Answers:
    """Of N texts: `embedding` [N, H], `logits` [N, L], `states` [N, layers, P, H] at token `positions` [N, P].

    `aligned` [N]: whether the student reads the text as the same tokens; if not, only the first one stands for the same
    thing in both.
    """

    embedding: npt.NDArray[np.float32]
    logits: npt.NDArray[np.float32]
    states: npt.NDArray[np.float16]
    positions: npt.NDArray[np.int64]
    aligned: npt.NDArray[np.bool_]

    def at(self, run: Sequence[int]) -> Tensor:
        """States of a run of texts [B, layers, POSITIONS, H]."""
        order = np.sort(np.array(run))
        found = self.states[order].astype(np.float32)
        found = np.where(self.aligned[order][:, None, None, None], found, found[:, :, :1])
        return torch.from_numpy(found[np.searchsorted(order, run)])


def all_states(network: Network, ids: Tensor, mask: Tensor) -> tuple[Output, list[Tensor]]:
    """The network's output, and the states [B, T, H] after each of its layers."""
    states: Tensor = network.trunk.embeddings(input_ids=ids)
    visible = mask[:, None, None, :].bool()
    found: list[Tensor] = []
    for layer in network.trunk.encoder.layer:
        states = layer(states, visible)
        found.append(states)
    last = states.float()
    mean = masked_mean(last, mask)
    return Output(last, nn.functional.normalize(mean, dim=-1), network.head(last[:, 0], mean)), found


def ask(
    teacher: Network,
    rows: Rows,
    layers: Sequence[int],
    *,
    aligned: Sequence[bool],
    kept: Path,
    device: str,
    say: Say,
) -> Answers:
    """The answers to token rows, out of the files that `kept` names (.npz, .npy) if they are to the same question."""
    key = _key(teacher, rows, layers)
    answers, states = kept.with_suffix(".npz"), kept.with_suffix(".npy")
    same = np.array(aligned)
    positions = chosen_positions([len(row) for row in rows])
    readable = np.where(same[:, None], positions, 0)
    if answers.exists():
        with np.load(answers, allow_pickle=False) as found:
            if str(found["key"]) == key:
                say(f"the teacher's answers to {len(rows)} texts are taken from {answers}")
                mapped = np.load(states, mmap_mode="r", allow_pickle=False)
                return Answers(found["embedding"], found["logits"], mapped, readable, same)
    say(f"the teacher is asked about {len(rows)} texts")
    shape = (len(rows), len(layers), POSITIONS, teacher.hidden)
    written = np.lib.format.open_memmap(states, mode="w+", dtype=np.float16, shape=shape)
    embedding = np.zeros((len(rows), teacher.hidden), np.float32)
    logits = np.zeros((len(rows), teacher.n_labels), np.float32)
    teacher = teacher.to(device).eval()
    pad_id = int(teacher.trunk.config.pad_token_id or 0)
    with torch.inference_mode():
        for run in runs_by_length([len(row) for row in rows], _RUN_TEXTS):
            ids, mask = padded([rows[number] for number in run], pad_id)
            with autocast(device):
                output, found_states = all_states(teacher, ids.to(device), mask.to(device))
            at = torch.from_numpy(positions[run])
            picked = [picked_states(found_states[layer].float().cpu(), at) for layer in layers]
            written[run] = torch.stack(picked, dim=1).numpy().astype(np.float16)
            embedding[run], logits[run] = output.embedding.float().cpu().numpy(), output.logits.float().cpu().numpy()
    teacher.cpu()
    written.flush()
    # Last, so that a kill before it leaves no answers that claim to be whole.
    np.savez(answers, key=np.array(key), embedding=embedding, logits=logits)
    return Answers(embedding, logits, written, readable, same)


def picked_states(states: Tensor, positions: Tensor) -> Tensor:
    """States [B, T, H] at positions [B, P]: [B, P, H]."""
    return states.gather(1, positions.unsqueeze(-1).expand(-1, -1, states.shape[-1]))


def chosen_positions(lengths: Sequence[int]) -> npt.NDArray[np.int64]:
    """Token positions [N, POSITIONS]: the first, and others at random, the same each time."""
    rng = random.Random(0)  # noqa: S311 - the same draw every time
    return np.array([[0, *(rng.randrange(length) for _ in range(POSITIONS - 1))] for length in lengths], np.int64)


def _key(teacher: Network, rows: Rows, layers: Sequence[int]) -> str:
    digest = hashlib.sha256(f"{POSITIONS} {list(layers)}".encode())
    for row in rows:
        digest.update(np.array([len(row), *row], np.int64).tobytes())
    for name, tensor in sorted(teacher.state_dict().items()):
        digest.update(name.encode() + tensor.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()
