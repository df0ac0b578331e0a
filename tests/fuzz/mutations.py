"""Good files made bad: bytes flipped, cut, doubled; parts of a JSON value dropped, replaced, added at any depth."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

Place = tuple[Any, Any]
"""A container and the key or index of one of its parts."""

ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, 10**30, 0.5, -0.0, 1e308, float("inf"), float("nan"), "", "a",
    "\0", "{}", "../x", "a" * 10_000, [], {}, [[]], [None], ["a"], [1, 2], {"a": 1}, {"": None}, [[[[[[[[]]]]]]]],
)  # fmt: skip


@st.composite
def mutated_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """One to four changes."""
    changed = bytearray(content)
    for _ in range(draw(st.sampled_from([1, 1, 2, 4]))):
        at = draw(st.integers(0, max(0, len(changed) - 1)))
        match draw(st.sampled_from(["flip", "flip", "flip", "flip", "cut", "drop", "add", "repeat"])):
            case "flip":
                changed[at : at + 1] = bytes([draw(st.sampled_from([0, 1, 127, 128, 255]) | st.integers(0, 255))])
            case "cut":
                del changed[at:]
            case "drop":
                del changed[at : at + draw(st.integers(1, 40))]
            case "add":
                changed[at:at] = draw(st.binary(min_size=1, max_size=20))
            case "repeat":
                changed[at:at] = changed[max(0, at - 40) : at]
    return bytes(changed)


@st.composite
def mutated_json(draw: st.DrawFn, value: Any) -> Any:
    """One to three changes, each somewhere in it."""
    changed = copy.deepcopy(value)
    for _ in range(draw(st.sampled_from([1, 1, 2, 3]))):
        places = list(_places(changed))
        if not places:
            return changed
        inside, key = draw(st.sampled_from(places))
        odd = copy.deepcopy(draw(st.sampled_from(ODD_VALUES)))
        match draw(st.sampled_from(["replace", "replace", "drop", "add", "swap"])):
            case "replace":
                inside[key] = odd
            case "drop":
                del inside[key]
            case "add" if isinstance(inside, dict):
                inside[draw(st.sampled_from(["extra", "", "\0", "type", "constructor"]))] = odd
            case "add":
                inside.insert(key, odd)
            case "swap":
                other, other_key = draw(st.sampled_from(places))
                inside[key] = copy.deepcopy(other[other_key])
    return changed


def _places(value: Any) -> Iterator[Place]:
    """Every place in a JSON value, the outermost first; of long lists the ends alone."""
    keys: list[Any] = []
    if isinstance(value, dict):
        keys = list(value)
    elif isinstance(value, list):
        keys = sorted({*range(min(3, len(value))), *range(max(0, len(value) - 3), len(value))})
    yield from ((value, key) for key in keys)
    for key in keys:
        yield from _places(value[key])
