"""What every origin of rows offers a backfill: rows from any place on, and the name of each place."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from producers.backfill.progress import Refusal
from producers.backfill.shape import Shape
from schemas.errors import EntryError, SourceError

CHUNK_CHARS = 1_000_000
_LINGER_S = 1.0
_LOOK_EVERY_ROWS = 16


class Fed(NamedTuple):
    """One row: where it ends (what `Feed.place` takes), where people find it, and its entry or why it has none."""

    mark: Any
    where: str
    fields: dict[str, str] | None
    error: EntryError | SourceError | None


class Feed(Protocol):
    """Rows of one origin, in an order that is the same every time.

    `file` tells a file from another (None: no file). `keeps_read_time`: `updated_at` is when reading first began,
    else when this `rows` began. `share_read`: from 0 to 1, None where nobody knows.
    """

    @property
    def file(self) -> Mapping[str, Any] | None:
        """What tells the file from another."""

    @property
    def keeps_read_time(self) -> bool:
        """Whether `updated_at` stays the same over resumes."""

    def rows(self, place: Mapping[str, Any], shape: Shape) -> Iterator[Fed]:
        """The rows after `place`. Raises SourceError, or DatabaseUnavailableError where trying again may help."""

    def place(self, mark: Any) -> dict[str, Any]:
        """Where to go on after a row; JSON."""

    def total(self) -> int | None:
        """Rows in all, where that is cheap to know."""

    @property
    def share_read(self) -> float | None:
        """How much has been read."""

    def close(self) -> None:
        """Close what is open."""


@dataclass(slots=True)
class Chunk:
    """Rows that are dealt with together: entries to add, rows refused, and the mark of the last of them."""

    mark: Any = None
    read: int = 0
    entries: list[dict[str, str]] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)


def chunks(rows: Iterable[Fed], most_rows: int) -> Iterator[Chunk]:
    """Chunks of at most `most_rows` rows, fewer where texts are long or rows are slow to come."""
    chunk, chars, started_s = Chunk(), 0, time.monotonic()
    for mark, where, fields, error in rows:
        chunk.mark = mark
        chunk.read += 1
        if fields is not None:
            chunk.entries.append(fields)
            chars += len(fields["text"]) + len(fields.get("meta", "")) + len(fields.get("labels", ""))
        else:
            chunk.refusals.append(_refusal(where, error))
        full = chunk.read >= most_rows or chars >= CHUNK_CHARS
        if full or (chunk.read % _LOOK_EVERY_ROWS == 1 and time.monotonic() - started_s >= _LINGER_S):
            yield chunk
            chunk, chars, started_s = Chunk(), 0, time.monotonic()
    if chunk.read:
        yield chunk


def _refusal(where: str, error: EntryError | SourceError | None) -> Refusal:
    if isinstance(error, EntryError):
        return Refusal(where, error.code.value, str(error))
    return Refusal(where, None, str(error).removeprefix(f"{where}: "))
