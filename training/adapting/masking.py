"""Which tokens a masked language model has to guess, and what stands in their place.

As in BERT (Devlin et al., 2018): 15 % of the tokens; of these 80 % are masked, 10 % replaced by random ones, 10 % left.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from worker.inference.tokenizer import TextTokenizer

MASKED_SHARE, SHOWN_AS_MASK, SHOWN_AS_RANDOM = 0.15, 0.8, 0.1
IGNORED = -100
LEAST_TOKENS = 4
_MASKS = ("[MASK]", "<mask>")


@dataclass(frozen=True)
class Vocabulary:
    """`mask_id`: of the mask token, or of the unknown one in a vocabulary without it. `head`, `tail`: the special ids
    around every row; they are never masked."""

    size: int
    mask_id: int
    pad_id: int
    head: tuple[int, ...]
    tail: tuple[int, ...]


def vocabulary_of(tokenizer: Tokenizer) -> tuple[Vocabulary, TextTokenizer]:
    """What masking needs to know of a tokenizer, and the tokenizer as the worker uses it."""
    known = [number for name in _MASKS if (number := tokenizer.token_to_id(name)) is not None]
    unknown = json.loads(tokenizer.to_str())["model"]
    unknown_id = unknown.get("unk_id")
    if unknown_id is None and unknown.get("unk_token") is not None:
        unknown_id = tokenizer.token_to_id(unknown["unk_token"])
    text = TextTokenizer(Tokenizer.from_str(tokenizer.to_str()), unknown_id)
    mask_id = known[0] if known else int(unknown_id or 0)
    head, tail = tuple(text.head.tolist()), tuple(text.tail.tolist())
    return Vocabulary(tokenizer.get_vocab_size(), mask_id, text.pad_id, head, tail), text


def token_rows(tokenizer: TextTokenizer, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
    """Rows of ids with specials. A text that is longer than `max_tokens` makes several; scraps are left out."""
    head, tail = tokenizer.head.tolist(), tokenizer.tail.tolist()
    room = max_tokens - len(head) - len(tail)
    return [
        [*head, *ids[start : start + room].tolist(), *tail]
        for ids in tokenizer.encode(texts)
        for start in range(0, len(ids), room)
        if len(ids[start : start + room]) >= LEAST_TOKENS
    ]


def masked(row: Sequence[int], vocabulary: Vocabulary, seed: Sequence[int]) -> tuple[list[int], list[int]]:
    """What the model sees, and what it has to guess (IGNORED elsewhere); at least one token. The same seed masks the
    same tokens."""
    rng = np.random.default_rng(list(seed))
    start, end = len(vocabulary.head), len(row) - len(vocabulary.tail)
    chosen = rng.random(end - start) < MASKED_SHARE
    if not chosen.any():
        chosen[rng.integers(end - start)] = True
    shown, wanted = list(row), [IGNORED] * len(row)
    for at in (np.flatnonzero(chosen) + start).tolist():
        wanted[at] = row[at]
        how = rng.random()
        if how < SHOWN_AS_MASK:
            shown[at] = vocabulary.mask_id
        elif how < SHOWN_AS_MASK + SHOWN_AS_RANDOM:
            shown[at] = int(rng.integers(vocabulary.size))
    return shown, wanted
