"""One run of a backfill: from its position to the end of its rows, then until workers have worked them off."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Engine

from producers.backfill import ledger
from producers.backfill.cursor import CancelledError, Cursor, MovedError
from producers.backfill.display import Display
from producers.backfill.feed import Chunk, Feed, chunks
from producers.backfill.files import check_same
from producers.backfill.ledger import Record
from producers.backfill.missing import without_results
from producers.backfill.options import Options
from producers.backfill.pace import Pace
from producers.backfill.progress import Progress
from producers.backfill.report import report_of
from producers.backfill.shape import Shape, source_of
from producers.backfill.stopping import Stop
from schemas.errors import DatabaseUnavailableError, InboxFullError, InboxUnavailableError
from schemas.names import BackfillState
from schemas.settings import Settings

CHUNK_ROWS = 1000
_COPY_EVERY_S = 2.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 0.5
_SAY_AWAY_AFTER_S = 2.0
_FEED_TRIES = 5
_LOOK_EVERY_S = 0.2

T = TypeVar("T")


@dataclass(slots=True)
class Runner:
    """Runs the backfill of `record`. `open_feed` opens its rows; it is called once, or never if all are enqueued.

    `stop` raises where it is asked to stop, `latest` is the progress as far as this run has come. Raises
    StoppedError, CancelledError, LeaseTakenError, BackfillError, SourceError, SetupError, DatabaseUnavailableError
    (of the rows' database; Fenliu's own is waited for); the state in the table is the caller's to set then.
    """

    settings: Settings
    engine: Engine
    cursor: Cursor
    record: Record
    open_feed: Callable[[], Feed]
    stop: Stop
    display: Display
    latest: Progress | None = None
    _copied_s: float = 0.0
    _total: int | None = None

    def run(self, *, wait: bool = True, force: bool = False) -> Mapping[str, Any] | None:
        """Enqueue what is left, wait until it is worked off, and report; None where `wait` is off."""
        progress = self._patiently(lambda: self.cursor.take(self.record.progress))
        if self.cursor.from_copy:
            self.display.note(
                f"Redis knows nothing of backfill {self.record.id}: going on from the copy in the database, after "
                f"{progress.read} rows. Rows that were enqueued after it was made come again, which changes no result. "
                "Entries that waited in an emptied inbox are lost; `start … --only-missing` finds them."
            )
        if not progress.ended:
            self._save(progress, BackfillState.RUNNING)
            progress = self._enqueue(progress, force=force)
        self._save(progress, BackfillState.DRAINING)
        if not wait:
            self.cursor.release(forget=False)
            return None
        if progress.last is not None and progress.enqueued:
            self._drain(progress.last)
        report = self._patiently(lambda: report_of(self.engine, progress))
        finished = datetime.now(UTC)
        report["seconds"] = round((finished - self.record.created_at).total_seconds(), 3)
        self._save(progress, BackfillState.DONE, report=report)
        self._patiently(lambda: self.cursor.release(forget=True))
        return report

    def _enqueue(self, progress: Progress, *, force: bool) -> Progress:
        feed = self.open_feed()
        try:
            if not force:
                check_same(progress.file, feed.file)
            progress = replace(progress, file=feed.file, read_at=progress.read_at or _now())
            self._total = self.record.total
            # A file knows its total; a database has to count, which is worth it only for somebody who watches.
            if self._total is None and (self.display.is_bar or feed.file is not None):
                self._total = feed.total()
            tries, read = 0, progress.read
            while True:
                try:
                    progress = self._feed_through(feed, progress)
                    return self._end(progress)
                except MovedError as error:
                    self.display.note(str(error))
                    progress = self._patiently(lambda: self.cursor.take(self.record.progress))
                except DatabaseUnavailableError as error:
                    progress = self.latest or progress
                    tries, read = (1, progress.read) if progress.read > read else (tries + 1, read)
                    if tries >= _FEED_TRIES:
                        raise
                    self.display.note(f"{error}; trying again")
                    self.stop.sleep(2.0**tries)
        finally:
            feed.close()

    def _feed_through(self, feed: Feed, progress: Progress) -> Progress:
        """Every row after `progress`, chunk by chunk."""
        options = self.record.options
        read_at = progress.read_at if feed.keeps_read_time else _now()
        shape = Shape(options, self.settings.keys, read_at)
        rows = feed.rows(progress.place, shape)
        if options.limit:
            rows = islice(rows, max(0, options.limit - progress.read))
        pace = Pace(options.rate)
        found = chunks(rows, self._chunk_rows(options))
        started_s = time.monotonic()
        while True:
            with self.stop.at_once():
                chunk = next(found, None)
            if chunk is None:
                return progress
            entries = self._wanted(options, chunk)
            now_s = time.monotonic()
            after = _moved(progress, feed, chunk, entries, now_s - started_s)
            started_s = now_s
            self.latest = progress = self._patiently(self._adding(after, entries))
            self._copy(progress)
            self.display.rows(progress, self._share(feed, progress))
            self.stop.sleep(pace.pause_s(chunk.read))

    def _adding(self, after: Progress, entries: list[dict[str, str]]) -> Callable[[], Progress]:
        return lambda: self.cursor.add(after, entries, self.settings.inbox_bound)

    def _end(self, progress: Progress) -> Progress:
        """All rows are in: fix the bounds of their entry ids."""
        closed = self._patiently(lambda: self.cursor.close(progress))
        after = replace(closed, ended=True, chunk=closed.chunk + 1)
        return self._patiently(self._adding(after, []))

    def _wanted(self, options: Options, chunk: Chunk) -> list[dict[str, str]]:
        if not options.only_missing:
            return chunk.entries
        return self._patiently(lambda: without_results(self.engine, chunk.entries, options.model))

    def _chunk_rows(self, options: Options) -> int:
        """No more than the inbox holds, and at a low rate no more than a second's rows."""
        most = min(CHUNK_ROWS, self.settings.inbox_bound)
        return max(1, min(most, int(options.rate))) if options.rate else most

    def _share(self, feed: Feed, progress: Progress) -> float | None:
        limit = self.record.options.limit
        total = min(self._total, limit) if self._total and limit else self._total or limit
        return min(1.0, progress.read / total) if total else feed.share_read

    def _drain(self, last: str) -> None:
        while not self._patiently(lambda: self.cursor.is_beyond(last)):
            self._copy(None)
            self.display.backlog(self._patiently(self.cursor.backlog))
            self.stop.sleep(_LOOK_EVERY_S)

    def _copy(self, progress: Progress | None) -> None:
        """Copy the progress to the table now and then; a database that is away is no reason to wait."""
        now_s = time.monotonic()
        if now_s - self._copied_s < _COPY_EVERY_S:
            return
        self._copied_s = now_s
        try:
            alive = ledger.save(self.engine, self.record.id, progress, total=self._total)
        except DatabaseUnavailableError as error:
            self.display.note(f"Postgres is away, which can wait: {error}")
            return
        if not alive:
            raise CancelledError(f"backfill {self.record.id} has been cancelled")

    def _save(self, progress: Progress, state: BackfillState, report: Mapping[str, Any] | None = None) -> None:
        self.latest = progress
        if not self._patiently(
            lambda: ledger.save(self.engine, self.record.id, progress, state=state, total=self._total, report=report)
        ):
            raise CancelledError(f"backfill {self.record.id} has been cancelled")

    def _patiently(self, step: Callable[[], T]) -> T:
        """Do it, again and again while the inbox is full or a server away, with growing pauses."""
        pause_s, since_s, said = _FIRST_PAUSE_S, time.monotonic(), False
        while True:
            try:
                return step()
            except MovedError:
                raise
            except (InboxFullError, InboxUnavailableError, DatabaseUnavailableError) as error:
                full = isinstance(error, InboxFullError)
                if not full and not said and time.monotonic() - since_s > _SAY_AWAY_AFTER_S:
                    said = True
                    self.display.note(f"waiting: {error}")
                self.stop.sleep(pause_s)
                pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)
                if full:
                    self._keep()

    def _keep(self) -> None:
        """Nobody may take a backfill over that waits for room."""
        latest = self.latest
        if latest is not None:
            self._copy(latest)
        self.cursor.keep()


def _moved(progress: Progress, feed: Feed, chunk: Chunk, entries: list[dict[str, str]], spent_s: float) -> Progress:
    return replace(
        progress,
        place=feed.place(chunk.mark),
        chunk=progress.chunk + 1,
        read=progress.read + chunk.read,
        enqueued=progress.enqueued + len(entries),
        skipped=progress.skipped + len(chunk.entries) - len(entries),
        refused=progress.refused + len(chunk.refusals),
        sources=progress.with_sources({source_of(entry) for entry in entries}),
        refusals=progress.with_refusals(chunk.refusals),
        spent_s=round(progress.spent_s + spent_s, 3),
    )


def _now() -> str:
    return datetime.now(UTC).isoformat()
