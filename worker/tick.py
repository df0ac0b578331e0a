"""What a worker does at each tick of the clock: it looks what is due and starts it, in a few milliseconds.

The tick runs in a thread of the pool, so it waits for a batch when all slots are busy, and no batch waits longer
for it than it takes. What it starts are processes (`worker.jobs`): a job in the pool would hold a slot for hours.
"""

from __future__ import annotations

import threading
import time
from functools import cached_property
from typing import Any

import redis
import structlog
from sqlalchemy import Engine

from schemas.database import make_engine
from schemas.errors import DatabaseUnavailableError, RetryableError
from schemas.settings import Settings
from worker.desk import schedules
from worker.inbox import connect, translated
from worker.jobs import Jobs
from worker.rollup import fold

log = structlog.get_logger(__name__)

_GRACE_S = 60.0
_FOLD_EVERY_S = 60.0


class Ticker:
    """Claims what is due and starts it. Opens nothing before its first tick."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._jobs = Jobs(settings)
        self._one_at_a_time = threading.Lock()
        self._folded_at_s = -_FOLD_EVERY_S

    def tick(self) -> None:
        """Start what is due. What cannot be done now, Postgres or Redis being away, is done at a later tick."""
        settings = self._settings
        prunes = bool(settings.retention_days or settings.delivered_days)
        if not self._one_at_a_time.acquire(blocking=False):
            return
        try:
            if prunes:
                schedules.keep_nightly_prune(self._engine)
            schedules.keep_nightly_quality(self._engine)
            launches = schedules.claim(self._engine, grace_s=2 * settings.tick_s + _GRACE_S, prunes=prunes)
            for launch in launches:
                self._jobs.start(launch)
            for launch in schedules.recover(self._engine, self._is_tended):
                log.warning("backfill_started_again", backfill_id=launch.backfill_id)
                self._jobs.start(launch)
            self._fold()
        except RetryableError as error:
            log.warning("tick_failed", reason=str(error)[:200])
        finally:
            self._one_at_a_time.release()

    def _fold(self) -> None:
        """Fold the sums behind the dashboards now and then; mostly some ten milliseconds."""
        if time.monotonic() - self._folded_at_s >= _FOLD_EVERY_S:
            fold(self._engine)
            self._folded_at_s = time.monotonic()

    def end(self, **_: Any) -> None:
        """End what was started here. A tick elsewhere starts it again, and this start does not count."""
        cut_off = [launch.backfill_id for launch in self._jobs.end() if launch.backfill_id is not None]
        if not cut_off:
            return
        try:
            schedules.uncount(self._engine, cut_off)
        except DatabaseUnavailableError as error:
            log.warning("starts_stay_counted", reason=str(error)[:200])

    def _is_tended(self, backfill_id: int) -> bool:
        with translated():
            return bool(self._client.exists(self._settings.keys.backfill_lease(backfill_id)))

    @cached_property
    def _engine(self) -> Engine:
        return make_engine(self._settings)

    @cached_property
    def _client(self) -> redis.Redis:
        return connect(self._settings)
