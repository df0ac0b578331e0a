"""Rows of any feed as the fields of inbox entries, checked by the workers' rules."""

from __future__ import annotations

from collections.abc import Mapping

from producers.backfill.options import Options
from producers.backfill.plain import PlainRows
from producers.item import fields_of
from schemas.messages import check_fields
from schemas.names import DEFAULT_SOURCE, TASKS_OF_KIND, Keys, Kind


class Shape:
    """The options' part of every entry. What is the same for all rows has been checked once by `Options.check`.

    `read_at`: the `updated_at` of rows that have none.
    """

    def __init__(self, options: Options, keys: Keys, read_at: str | None) -> None:
        self._keys = keys
        self._defaults = tuple(options.defaults.items()) + ((("updated_at", read_at),) if read_at else ())
        self._fixed = options.fixed
        self._plain = PlainRows()

    def entry(self, row: Mapping[str, object]) -> dict[str, str]:
        """The fields of a row's entry. Raises EntryError."""
        fields = self._plain.fields(row)
        if fields is None:
            fields = fields_of(row)
            check_fields(fields, self._keys)
        for name, value in self._defaults:
            fields.setdefault(name, value)
        if self._fixed:
            fields.update(self._fixed)
        return fields


def source_of(fields: Mapping[str, str]) -> str:
    """The source that a worker will see."""
    return fields.get("source", DEFAULT_SOURCE)


def tasks_of(fields: Mapping[str, str]) -> frozenset[str]:
    """The tasks that a worker will do, of fields that keep the rules."""
    tasks = fields.get("tasks")
    if tasks is None:
        return frozenset(task.value for task in TASKS_OF_KIND[Kind(fields.get("kind", Kind.COMMENT))])
    return frozenset(task.strip() for task in tasks.split(","))
