"""Near-copies: texts that say the same, but for signs, case, digits or a few characters.

Two texts are near-copies if they are the same once `normalised`, or if the Jaccard index of their sets of character
3-grams is at least LIKENESS: Broder, "On the resemblance and containment of documents" (1997). Pairs that may reach
it are found by prefix filtering: Bayardo, Ma and Srikant, "Scaling up all pairs similarity search" (2007). Pure: texts
in, numbers out.
"""

from __future__ import annotations

import hashlib
import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence

LIKENESS = 0.8
COMPARED_CHARS = 1_000
"""So much of a normalised text is compared by 3-grams; a bound for memory."""
_GRAM_CHARS = 3
_FINGERPRINT_CHARS = 32
_DIGIT = "0"
_ROUNDING = 1e-9


def normalised(text: str) -> str:
    """`text` in NFKC and lower case, without spaces and punctuation, each run of digits one `0`.

    Pictures such as emoji stay: they may be all that a comment says. So does a text of nothing but signs.
    """
    kept: list[str] = []
    for sign in unicodedata.normalize("NFKC", text).lower():
        category = unicodedata.category(sign)
        if category[0] == "N":
            if not kept or kept[-1] != _DIGIT:
                kept.append(_DIGIT)
        elif category[0] in "LM" or category == "So":
            kept.append(sign)
    said = "".join(kept)
    return said if said.strip(_DIGIT) else " ".join(text.split())


def fingerprint(text: str) -> str:
    """A hash in hexadecimal that is the same for texts that are the same once normalised."""
    return hashlib.sha256(normalised(text).encode("utf-8", "surrogatepass")).hexdigest()[:_FINGERPRINT_CHARS]


def likeness(one: str, other: str) -> float:
    """The Jaccard index of two texts' 3-grams, from 0 to 1."""
    left, right = _grams(one), _grams(other)
    return len(left & right) / len(left | right)


class Copies:
    """Texts among which near-copies of another are looked for."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._grams = [_grams(text) for text in texts]
        self._known = Counter(gram for grams in self._grams for gram in grams)
        self._by_gram: dict[str, list[int]] = defaultdict(list)
        for number, grams in enumerate(self._grams):
            for gram in self._prefix(grams):
                self._by_gram[gram].append(number)

    def like(self, text: str) -> list[int]:
        """The numbers, from 0, of the texts that are near-copies of `text`, in order."""
        grams = _grams(text)
        near = {number for gram in self._prefix(grams) for number in self._by_gram.get(gram, ())}
        return sorted(number for number in near if _is_like(grams, self._grams[number]))

    def _prefix(self, grams: frozenset[str]) -> list[str]:
        """The rarest grams, so many that two texts that are alike share one of these at least."""
        most = len(grams) - math.ceil(LIKENESS * len(grams) - _ROUNDING) + 1
        return sorted(grams, key=lambda gram: (self._known[gram], gram))[:most]


def _is_like(one: frozenset[str], other: frozenset[str]) -> bool:
    shorter, longer = sorted((len(one), len(other)))
    if shorter < LIKENESS * longer:
        return False
    shared = len(one & other)
    return shared / (shorter + longer - shared) >= LIKENESS


def _grams(text: str) -> frozenset[str]:
    said = normalised(text)[:COMPARED_CHARS]
    return frozenset(said[at : at + _GRAM_CHARS] for at in range(max(1, len(said) - _GRAM_CHARS + 1)))
