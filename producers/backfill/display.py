"""What people see while a backfill runs: a bar with rate and time left on a terminal, a line now and then elsewhere.

All on standard error.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from producers.backfill import progress as state

_SAY_EVERY_S = 5.0


class Display:
    """One run's. `rows` and `backlog` are cheap to call for every chunk."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._said_s = self._started_s = time.monotonic()
        self._read_before: int | None = None
        self._most_backlog = 0
        if sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("", total=None)

    @property
    def is_bar(self) -> bool:
        """Whether there is a terminal, for which it is worth to count rows first."""
        return self._bar is not None

    def note(self, said: str) -> None:
        """Something that people should know."""
        if self._bar is None:
            typer.echo(said, err=True)
        else:
            self._bar.console.print(said, markup=False, highlight=False)

    def rows(self, progress: state.Progress, share: float | None) -> None:
        """Rows so far, and which share of all they are."""
        if self._read_before is None:
            self._read_before = progress.read
        now = time.monotonic()
        if self._bar is None and now - self._said_s < _SAY_EVERY_S:
            return
        rate = (progress.read - self._read_before) / max(now - self._started_s, 0.001)
        parts = [f"{progress.enqueued:,} enqueued", f"{rate:,.0f} rows/s"]
        if progress.skipped:
            parts.insert(1, f"{progress.skipped:,} skipped")
        if progress.refused:
            parts.insert(1, f"{progress.refused:,} refused")
        self._show(", ".join(parts), share, now)

    def backlog(self, entries: int) -> None:
        """Entries that workers have not yet worked off, everybody's."""
        now = time.monotonic()
        if self._bar is None and now - self._said_s < _SAY_EVERY_S:
            return
        self._most_backlog = max(self._most_backlog, entries, 1)
        self._show(f"{entries:,} entries in the bulk inbox", 1 - entries / self._most_backlog, now)

    def _show(self, said: str, share: float | None, now: float) -> None:
        self._said_s = now
        if self._bar is None:
            typer.echo(said if share is None else f"{said}, {share:.0%}", err=True)
        elif share is None:
            self._bar.update(self._task, description=said)
        else:
            self._bar.update(self._task, description=said, total=1.0, completed=share)

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()
