"""A tokenizer with fewer pieces: those that the texts use, then single characters, then the rest in order.

What is no longer a piece of its own is spelled with shorter ones, so that nothing becomes unreadable that was not.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from tokenizers import Tokenizer

from schemas.errors import ModelError
from training.vocabulary import META, piece_counts

_CONTINUED = "##"


def pruned(tokenizer: Tokenizer, texts: Iterable[str], limit: int) -> tuple[Tokenizer, list[int]]:
    """A tokenizer of at most `limit` pieces, and the old id of each new one.

    Raises ModelError if `limit` has no room for the special tokens, or the tokenizer is neither WordPiece nor Unigram.
    """
    content = json.loads(tokenizer.to_str())
    model = content["model"]
    names = _names(model)
    needed = {int(token["id"]) for token in content["added_tokens"]} | set(_ids(content["post_processor"]))
    needed |= {
        number for number, name in names.items() if name == model.get("unk_token") or number == model.get("unk_id")
    }
    if limit < len(needed) + 1:
        raise ModelError(
            f"--vocabulary: {limit} pieces are too few; the tokenizer has {len(needed)} special ones alone"
        )
    used = piece_counts(tokenizer, texts)
    order = sorted(names, key=lambda n: (n not in needed, -used[n], not _is_character(names[n]), _rank(model, n)))
    outside = sorted(needed - names.keys())
    kept = sorted(order[: limit - len(outside)]) + outside
    new = {old: number for number, old in enumerate(kept)}
    if model["type"] == "Unigram":
        model["vocab"] = [model["vocab"][old] for old in kept if old in names]
        model["unk_id"] = new.get(model["unk_id"])
    else:
        model["vocab"] = {names[old]: new[old] for old in kept if old in names}
    for token in content["added_tokens"]:
        token["id"] = new[int(token["id"])]
    _renumber(content["post_processor"], new)
    return Tokenizer.from_str(json.dumps(content)), kept


def _names(model: Mapping[str, Any]) -> dict[int, str]:
    if model["type"] == "Unigram":
        return {number: piece for number, (piece, _) in enumerate(model["vocab"])}
    if model["type"] == "WordPiece":
        return {int(number): piece for piece, number in model["vocab"].items()}
    raise ModelError(f"--vocabulary: a {model['type']} vocabulary cannot be pruned; WordPiece and Unigram can")


def _rank(model: Mapping[str, Any], number: int) -> float:
    """More probable pieces first; WordPiece has no probabilities, its order is all there is."""
    return -float(model["vocab"][number][1]) if model["type"] == "Unigram" else float(number)


def _is_character(piece: str) -> bool:
    return len(piece.removeprefix(_CONTINUED).removeprefix(META)) <= 1


def _ids(node: Any) -> Iterable[int]:
    """Every id that a post-processor holds."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from value if key == "ids" else [value[1]] if key in ("sep", "cls") else _ids(value)
    elif isinstance(node, list):
        for value in node:
            yield from _ids(value)


def _renumber(node: Any, new: Mapping[int, int]) -> None:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "ids":
                node[key] = [new[number] for number in value]
            elif key in ("sep", "cls"):
                node[key] = [value[0], new[value[1]]]
            else:
                _renumber(value, new)
    elif isinstance(node, list):
        for value in node:
            _renumber(value, new)
