"""Constant statements, run with parameters and shown as they ran.

A line that names a parameter which is None is left out: so one constant serves with and without a filter, and what is
shown has no conditions that say nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Row

from schemas.database import translated

_PARAMETER = re.compile(r"%\((\w+)\)s")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the database said. `shown` is the statement with its parameters as literals, as the driver quotes them."""

    columns: tuple[str, ...]
    rows: Sequence[Row[Any]]
    shown: str


def named_in(statement: str) -> frozenset[str]:
    """The parameters that a statement has."""
    return frozenset(_PARAMETER.findall(statement))


def applied(statement: str, parameters: Mapping[str, Any]) -> str:
    """The statement without the lines of parameters that are None."""
    lines = statement.strip("\n").split("\n")
    return "\n".join(line for line in lines if all(parameters[name] is not None for name in _PARAMETER.findall(line)))


def ask(reader: Engine, statement: str, parameters: Mapping[str, Any]) -> Answer:
    """Run a statement. Raises DatabaseUnavailableError; RowRefusedError for what Postgres cannot make sense of."""
    chosen = applied(statement, parameters)
    with translated(), reader.connect() as connection:
        raw: Any = connection.connection
        with raw.cursor() as cursor:
            shown = cursor.mogrify(chosen, dict(parameters)).decode()
        result = connection.exec_driver_sql(chosen, dict(parameters))
        return Answer(tuple(result.keys()), result.all(), shown + ";")
