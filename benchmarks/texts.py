"""The texts that benchmarks run on: the shipped sample, and as many distinct ones like it as are asked for."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

SAMPLE = Path(__file__).resolve().parents[1] / "producers" / "sample"

_TURNS = (7, 11, 13)


def sample_texts() -> list[str]:
    """Every text of the shipped comments and tickets, each once, in file order."""
    texts: dict[str, None] = {}
    for name in ("comments.csv", "tickets.csv"):
        with (SAMPLE / name).open(encoding="utf-8", newline="") as file:
            texts.update((row["text"], None) for row in csv.DictReader(file))
    return list(texts)


def distinct_texts(count: int) -> list[str]:
    """`count` distinct texts with the sample's lengths: the sample, then each turned around at ever other places.

    No text comes twice, so that nothing can be answered from memory; pieces and lengths are those of real texts.
    """
    originals = sample_texts()
    found = dict.fromkeys(originals[:count])
    for parts, turn in _places():
        for text in originals:
            if len(found) == count:
                return list(found)
            cut = len(text) * turn // parts or 1
            found.setdefault(text[cut:] + text[:cut])
    if len(found) < count:
        raise ValueError(f"the sample gives {len(found)} distinct texts, not {count}")
    return list(found)


def _places() -> Iterator[tuple[int, int]]:
    """Where to turn a text around: after so many of so many parts."""
    for parts in _TURNS:
        yield from ((parts, turn) for turn in range(1, parts))
