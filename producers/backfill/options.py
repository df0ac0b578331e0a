"""What a backfill was asked to do, as the command line says it and the table `backfills` keeps it."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from producers.sources import STDIN, Columns, Format
from schemas.errors import BackfillError
from schemas.messages import check_fields
from schemas.names import Keys

ITEMS = "items"
"""The origin that means Fenliu's own items."""
URL_VARIABLE = "FENLIU_BACKFILL_URL"


@dataclass(frozen=True, slots=True)
class Options:
    """Everything that a resume needs; no secret is in it.

    `origin`: an absolute path, `-`, `items`, or the masked URL of a database. `url_env`: the environment variable
    that holds the URL. What rows say themselves wins over `source`, `kind`, `tasks`, `route_set`; `model` wins over
    rows. For `items`, `source` and `kind` choose among them instead. `rate` is rows a second, 0: no limit.
    """

    origin: str
    query: str = ""
    key: str = ""
    url_env: str = ""
    id_column: str = "id"
    text_column: str = "text"
    created_at_column: str = "created_at"
    updated_at_column: str = "updated_at"
    meta_columns: tuple[str, ...] | None = None
    source: str | None = None
    kind: str | None = None
    tasks: str | None = None
    route_set: str | None = None
    model: str | None = None
    only_missing: bool = False
    rate: float = 0.0
    limit: int = 0
    format: str | None = None
    encoding: str = "utf-8-sig"

    @property
    def columns(self) -> Columns:
        """Which columns become which fields."""
        meta = None if self.meta_columns is None else frozenset(self.meta_columns)
        return Columns(self.id_column, self.text_column, self.created_at_column, self.updated_at_column, meta)

    @property
    def file_format(self) -> Format | None:
        """How the file is written, if that was said."""
        return Format(self.format) if self.format else None

    @property
    def is_items(self) -> bool:
        """Whether the rows are Fenliu's own items."""
        return self.origin == ITEMS

    @property
    def is_query(self) -> bool:
        """Whether the rows come from a database of somebody else."""
        return bool(self.query)

    def check(self, keys: Keys) -> None:
        """Raise EntryError if no row could keep the rules because of what is the same for all, BackfillError else."""
        check_fields({"id": "1", "text": "x", **self.defaults, **self.fixed}, keys)
        if not math.isfinite(self.rate):
            raise BackfillError("--rate is a number of rows a second; 0 is as fast as the inbox takes them")
        if self.is_query and not self.key:
            raise BackfillError("a query needs --key COLUMN, which orders its rows and is unique")
        if self.key and not self.is_query:
            raise BackfillError("--key belongs to a database's --query")

    @property
    def defaults(self) -> dict[str, str]:
        """Fields of rows that do not say so themselves."""
        names = ("tasks", "route_set") if self.is_items else ("source", "kind", "tasks", "route_set")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    @property
    def fixed(self) -> dict[str, str]:
        """Fields of every row, whatever it says."""
        return {} if self.model is None else {"model": self.model}

    def url(self, given: str | None) -> str:
        """The database's URL: `given`, else from the environment. Raises BackfillError that says what to set."""
        for url in (given, self.url_env and os.environ.get(self.url_env), os.environ.get(URL_VARIABLE)):
            if url:
                return url
        raise BackfillError(f"the URL of {self.origin} is not kept: give --url, or set {self.url_env or URL_VARIABLE}")

    def as_json(self) -> dict[str, Any]:
        """What differs from the defaults."""
        defaults = Options(origin="")
        return {
            name: value for name, value in asdict(self).items() if name == "origin" or value != getattr(defaults, name)
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Options:
        """The options that `as_json` wrote. Raises BackfillError for anything else."""
        try:
            values: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value for name, value in content.items()
            }
            return cls(**values)
        except TypeError:
            unknown = sorted(set(content) - {field.name for field in fields(cls)})
            raise BackfillError(f"the backfill has options that this version does not know: {unknown}") from None


def absolute(origin: str) -> str:
    """A file's path from anywhere; `-` and `items` as they are."""
    return origin if origin in {STDIN, ITEMS} else str(Path(origin).absolute())
