"""The clock: a Celery beat that sends a tick now and then. What a tick does is `worker.tick`'s, in the workers.

It keeps nothing: which schedule is due stands in Postgres, so several clocks are as good as one.
"""

from __future__ import annotations

from typing import Any

import structlog
from celery import Celery
from celery.apps.beat import Beat
from celery.beat import Scheduler
from kombu.exceptions import OperationalError

from schemas.names import CLOCK_QUEUE, TASK_TICK
from schemas.settings import Settings
from worker.broker import configuration

log = structlog.get_logger(__name__)

_EXPIRY_TICKS = 2


class ClockScheduler(Scheduler):  # type: ignore[misc]  # celery has no types
    """Celery's scheduler in memory, which never lets ticks pile up while no worker takes them."""

    def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **options: Any) -> Any:
        """Send a tick in place of one that still waits. An error is logged by the caller, and the next tick comes."""
        with self.app.connection_for_write() as connection:
            try:
                connection.channel().queue_purge(CLOCK_QUEUE)
            except (OperationalError, *connection.connection_errors, *connection.channel_errors) as error:
                log.warning("broker_away", reason=str(error)[:200])
                return None
        return super().apply_async(entry, producer=producer, advance=advance, **options)


def create_clock(settings: Settings) -> Celery:
    """The app that sends ticks and does nothing else; it loads no model. `settings` must have its URLs."""
    app = Celery("fenliu-clock", set_as_current=False)
    app.conf.update(
        **configuration(settings),
        beat_schedule={
            TASK_TICK: {
                "task": TASK_TICK,
                "schedule": settings.tick_s,
                "options": {"queue": CLOCK_QUEUE, "expires": _EXPIRY_TICKS * settings.tick_s},
            }
        },
        beat_max_loop_interval=settings.tick_s,
        beat_cron_starting_deadline=None,
    )
    return app


def run_clock(settings: Settings) -> None:
    """Tick until SIGTERM or SIGINT, which end it at once; a broker that is away is waited for."""
    Beat(app=create_clock(settings), scheduler_cls=ClockScheduler, quiet=True, loglevel=settings.log_level).run()
