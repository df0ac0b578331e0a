"""Cutting token ids that are longer than the model: into overlapping windows, or off. Pure functions.

What is made of the windows' scores is `worker.inference.scores`'.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from worker.inference.tokenizer import IdArray

OVERLAP_SHARE = 4
"""Windows overlap by at least one part in four, so that no clause is only ever seen cut."""


def spans(n_tokens: int, room_tokens: int) -> list[tuple[int, int]]:
    """Start and end of each window over `n_tokens` tokens, at most `room_tokens` each.

    One window when they fit (an empty one for no tokens). Else the fewest full windows that overlap by at least a
    quarter, spread evenly; the last one ends with the text and is as full as the others.
    """
    if room_tokens < 1:
        raise ValueError(f"a window needs room for a token, not {room_tokens}")
    if n_tokens <= room_tokens:
        return [(0, n_tokens)]
    most_stride = max(1, room_tokens - room_tokens // OVERLAP_SHARE)
    last_start = n_tokens - room_tokens
    n_strides = -(-last_start // most_stride)
    starts = [number * last_start // n_strides for number in range(n_strides + 1)]
    return [(start, start + room_tokens) for start in starts]


def windows(ids: IdArray, head: IdArray, tail: IdArray, max_tokens: int) -> list[IdArray]:
    """Sequences of at most `max_tokens` for the model: each is `head`, a part of `ids`, `tail`."""
    room_tokens = max_tokens - len(head) - len(tail)
    return [np.concatenate((head, ids[start:end], tail)) for start, end in spans(len(ids), room_tokens)]


def weights(parts: Sequence[IdArray], bounds_tokens: int) -> list[int]:
    """Tokens of text in each window, for the weighted mean; a window without any counts as one.

    `bounds_tokens`: how many tokens of each window are head and tail.
    """
    return [max(1, len(part) - bounds_tokens) for part in parts]


def kept(first_tokens: int, second_tokens: int, room_tokens: int) -> tuple[int, int]:
    """How much of each text of a pair stays when `room_tokens` are all there is: the longer one loses first.

    As transformers' slow tokenizers do it (`longest_first`, token by token), where of equal ones the second loses.
    """
    first = min(first_tokens, max(room_tokens - second_tokens, (room_tokens + 1) // 2))
    return first, min(second_tokens, room_tokens - first)
