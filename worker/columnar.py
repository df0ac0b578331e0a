"""Many rows as one SQL parameter per column: the cheapest way through psycopg2 that was measured.

A row object in JSON repeats its keys and is parsed field by field; arrays of the server's own types are not.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from schemas.errors import RowRefusedError

_MAY_HOLD_NAN = frozenset(["jsonb", "double precision"])
_JSON_TYPES = {"text": "json_array_elements_text", "jsonb": "json_array_elements"}


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns of rows that are sent: name → Postgres type, in the order of a row's values.

    `finite`: JSON columns whose numbers have been checked elsewhere, so that a null in them is a null.
    """

    types: Mapping[str, str]
    finite: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return ", ".join(self.types)

    @property
    def table(self) -> str:
        """What stands after FROM: the rows, in the order they are sent, as a table called `sent`."""
        arrays = ", ".join(_array(name, type_) for name, type_ in self.types.items())
        return f"ROWS FROM ({arrays}) AS sent ({self})"

    def parameters(self, rows: Sequence[tuple[Any, ...]]) -> dict[str, str]:
        """The rows as parameters of a statement that reads from `table`.

        Times are `datetime`s with a zone. Raises RowRefusedError for NaN and infinity, which are no JSON.
        """
        return self.parameters_of(zip(*rows, strict=True))

    def parameters_of(self, columns: Iterable[Sequence[Any]]) -> dict[str, str]:
        """As `parameters`, of all values of each column."""
        try:
            return {
                name: _parameter(type_, values, finite=name in self.finite or type_ not in _MAY_HOLD_NAN)
                for (name, type_), values in zip(self.types.items(), columns, strict=True)
            }
        except ValueError as error:
            raise RowRefusedError(f"cannot be stored: {error}") from error


def _array(name: str, type_: str) -> str:
    if type_ in _JSON_TYPES:
        return f"{_JSON_TYPES[type_]}(CAST(%({name})s AS json))"
    return f"unnest(CAST(%({name})s AS {type_}[]))"


def _parameter(type_: str, values: Sequence[Any], *, finite: bool) -> str:
    array = _json(values, finite=finite)
    # Numbers, booleans, times and nulls look the same in an array literal but for the brackets.
    return array if type_ in _JSON_TYPES else "{" + array[1:-1] + "}"


def _json(values: Sequence[Any], *, finite: bool) -> str:
    try:
        array = orjson.dumps(values)
    except TypeError:  # half of a surrogate pair, or an integer of over 64 bits
        return _json_slowly(values)
    # orjson writes NaN and infinity as null.
    if not finite and b"null" in array:
        return _json_slowly(values)
    return array.decode()


def _json_slowly(values: Sequence[Any]) -> str:
    return json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=datetime.isoformat)
