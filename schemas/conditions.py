"""Conditions on a ticket: their tree, what holds, how a tree is written. Reading text is `schemas.condition_text`'s.

Values are JSON's. Two of different kinds are never equal and neither is the lesser; true is no number. What is
missing is null. So asking never fails, whatever a ticket's meta holds.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

META = "meta"
TEXT_FIELDS = ("source", "kind", "id", "text")
NAME = r"[^\W\d]\w*"
"""A key that needs no quotes after a dot."""

_NAME = re.compile(NAME)
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a ticket before any model has seen it."""

    source: str
    kind: str
    id: str
    text: str
    meta: Mapping[str, Any]


class Operator(enum.StrEnum):
    """How two values are compared."""

    EQUAL = "=="
    UNEQUAL = "!="
    LESS = "<"
    LESS_OR_EQUAL = "<="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="
    IN = "in"
    NOT_IN = "not in"
    CONTAINS = "contains"
    STARTS_WITH = "starts_with"


class Operand(Protocol):
    """A side of a comparison."""

    def value(self, facts: Facts) -> Any:
        """A JSON value; lists may be tuples."""


class Condition(Protocol):
    """Holds or does not. `str` writes it so that reading it gives an equal one."""

    def holds(self, facts: Facts) -> bool:
        """Whether it holds; never raises."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the ticket, or a path into its meta: `("meta", "plan", "name")`."""

    path: tuple[str, ...]

    def value(self, facts: Facts) -> Any:
        """What stands there, or None."""
        found = self._find(facts)
        return None if found is _MISSING else found

    def is_there(self, facts: Facts) -> bool:
        """Whether there is such a key, also if it holds null."""
        return self._find(facts) is not _MISSING

    def _find(self, facts: Facts) -> Any:
        found: Any = getattr(facts, self.path[0])
        for key in self.path[1:]:
            found = found.get(key, _MISSING) if isinstance(found, Mapping) else _MISSING
        return found

    def __str__(self) -> str:
        return self.path[0] + "".join(f".{key}" if _NAME.fullmatch(key) else f"[{_json(key)}]" for key in self.path[1:])


@dataclass(frozen=True, slots=True, eq=False)
class Literal:
    """A value that stands in the condition: text, a number, true, false, null, or a tuple of such."""

    constant: Any

    def value(self, facts: Facts) -> Any:  # noqa: ARG002 - as every operand
        """The value itself."""
        return self.constant

    def __str__(self) -> str:
        return _json(self.constant)

    # Python takes True for 1, and a condition does not.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Literal) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two operands and how they are compared."""

    left: Operand
    operator: Operator
    right: Operand

    def holds(self, facts: Facts) -> bool:
        """Whether the values compare so."""
        return _TESTS[self.operator](self.left.value(facts), self.right.value(facts))

    def __str__(self) -> str:
        return f"{self.left} {self.operator} {self.right}"


@dataclass(frozen=True, slots=True)
class Exists:
    """Whether meta has a key, also if it holds null."""

    field: Field

    def holds(self, facts: Facts) -> bool:
        """Whether it is there."""
        return self.field.is_there(facts)

    def __str__(self) -> str:
        return f"exists {self.field}"


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of a condition."""

    inner: Condition

    def holds(self, facts: Facts) -> bool:
        """Whether the inner one does not."""
        return not self.inner.holds(facts)

    def __str__(self) -> str:
        return f"not {_bracketed(self.inner, And, Or)}"


@dataclass(frozen=True, slots=True)
class And:
    """All of two or more."""

    parts: tuple[Condition, ...]

    def holds(self, facts: Facts) -> bool:
        """Whether every part holds; those after one that does not are not asked."""
        return all(part.holds(facts) for part in self.parts)

    def __str__(self) -> str:
        return " and ".join(_bracketed(part, And, Or) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Or:
    """Any of two or more."""

    parts: tuple[Condition, ...]

    def holds(self, facts: Facts) -> bool:
        """Whether any part holds; those after it are not asked."""
        return any(part.holds(facts) for part in self.parts)

    def __str__(self) -> str:
        return " or ".join(_bracketed(part, Or) for part in self.parts)


def _bracketed(condition: Condition, *loose: type[Condition]) -> str:
    return f"({condition})" if isinstance(condition, loose) else str(condition)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _equal(left: Any, right: Any) -> bool:
    # Not recursive: a few hundred brackets in a ticket's meta would be too deep for it.
    pairs = [(left, right)]
    while pairs:
        one, other = pairs.pop()
        if isinstance(one, list | tuple) and isinstance(other, list | tuple):
            if len(one) != len(other):
                return False
            pairs += zip(one, other, strict=True)
        elif isinstance(one, Mapping) and isinstance(other, Mapping):
            if one.keys() != other.keys():
                return False
            pairs += [(one[key], other[key]) for key in one]
        elif isinstance(one, bool) or isinstance(other, bool):
            if one is not other:
                return False
        elif one != other:
            return False
    return True


def _ordered(test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def compared(left: Any, right: Any) -> bool:
        alike = (_is_number(left) and _is_number(right)) or (isinstance(left, str) and isinstance(right, str))
        return alike and test(left, right)

    return compared


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_in(value: Any, values: Any) -> bool:
    return isinstance(values, list | tuple) and any(_equal(value, each) for each in values)


def _contains(whole: Any, part: Any) -> bool:
    if isinstance(whole, str):
        return isinstance(part, str) and part in whole
    return _is_in(part, whole)


_TESTS: dict[Operator, Callable[[Any, Any], bool]] = {
    Operator.EQUAL: _equal,
    Operator.UNEQUAL: lambda left, right: not _equal(left, right),
    Operator.LESS: _ordered(lambda left, right: left < right),
    Operator.LESS_OR_EQUAL: _ordered(lambda left, right: left <= right),
    Operator.GREATER: _ordered(lambda left, right: left > right),
    Operator.GREATER_OR_EQUAL: _ordered(lambda left, right: left >= right),
    Operator.IN: _is_in,
    Operator.NOT_IN: lambda left, right: not _is_in(left, right),
    Operator.CONTAINS: _contains,
    Operator.STARTS_WITH: lambda left, right: (
        isinstance(left, str) and isinstance(right, str) and left.startswith(right)
    ),
}
