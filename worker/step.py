"""The bootstep that gives every Celery worker its collector.

It sits in the worker's blueprint, since the consumer's steps restart at every reconnect, and requires the
pool, so that it stops first: a read that returned after the pool had closed would leave its entries pending.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import structlog
from celery import bootsteps, signals
from celery.concurrency import solo, thread
from sqlalchemy import Engine

from schemas.database import make_engine
from schemas.errors import DatabaseUnavailableError, SetupError
from schemas.manifest import Manifest
from schemas.settings import Settings
from worker.collector import Collector
from worker.garbage import settle_down
from worker.held import Held
from worker.inbox import Inbox, connect
from worker.migrate import migrate
from worker.pace import Pace
from worker.pipeline import Pipeline
from worker.pools import refusal
from worker.pulse import Pulse
from worker.registry import register_production
from worker.router import Router
from worker.share import Share
from worker.shelf import Shelf
from worker.sink import Sink
from worker.slot import Slot

log = structlog.get_logger(__name__)

_DATABASE_WAIT_S = 60.0


class CollectorStep(bootsteps.StartStopStep):  # type: ignore[misc]  # celery has no types
    """Starts the collector with the worker and drains it before the pool stops."""

    requires = ("celery.worker.components:Pool", "worker.metrics_step:MetricsStep")

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        if not issubclass(worker.pool_cls, thread.TaskPool | solo.TaskPool):
            raise SetupError(refusal(worker.pool_cls.__module__.rpartition(".")[2]))
        self._settings: Settings = worker.app.settings
        self._stopping = threading.Event()
        self._collector: Collector | None = None

    def start(self, worker: Any) -> None:
        """Load the model, connect, and begin to read."""
        settings, slots = self._settings, max(1, worker.pool.limit or worker.concurrency)
        metrics = worker.app.metrics
        shelf = worker.app.shelf or Shelf.open(settings, metrics.runs)
        engine = make_engine(settings)
        _prepare_database(settings, engine, shelf.production.manifest)
        client = connect(settings, read_block_s=settings.idle_poll_s)
        consumer = f"{socket.gethostname()[:60]}-{os.getpid()}-{secrets.token_hex(4)}"
        inbox = Inbox(client, settings.keys, consumer)
        held = Held()
        pace = Pace(settings.bulk_batch_ms)
        share = Share(settings.bulk_share, pace.few_portions_entries)
        manifest = shelf.production.manifest
        self._pulse = Pulse(client=client, inbox=inbox, held=held, slots=slots, model=manifest.id, settings=settings)
        slot = Slot(
            inbox=inbox,
            held=held,
            classify=Pipeline(shelf, Router(engine, settings.routes_poll_s), settings, held.progressed),
            write=Sink(engine, metrics.rows).write,
            pace=pace,
            share=share,
            slots=slots,
            settings=settings,
            metrics=metrics,
            stopping=self._stopping,
            on_settled=self._pulse.settled,
        )
        self._collector = Collector(
            inbox=inbox,
            held=held,
            slots=slots,
            submit=lambda run: _submit(worker.pool, run),
            slot=slot,
            worth_a_slot=pace.half_a_portion_entries,
            share=share,
            settings=settings,
            metrics=metrics,
            stopping=self._stopping,
        )
        metrics.works(held, slots, manifest.id)
        signals.worker_shutting_down.connect(self._on_shutting_down)
        settle_down()
        self._pulse.start()
        self._collector.start()
        log.info("collecting", consumer=consumer, slots=slots, model=manifest.id)

    def stop(self, worker: Any) -> None:  # noqa: ARG002  # celery's signature
        """Read no more, finish and acknowledge what runs, leave the rest in the inbox, free for others."""
        self._stopping.set()
        if self._collector is None:  # the start failed; Celery stops every step all the same
            return
        self._collector.join(self._settings.drain_timeout_s)
        if not self._collector.drained(self._settings.drain_timeout_s):
            log.warning("drain_timed_out", limit_s=self._settings.drain_timeout_s)
        self._pulse.stopped.set()
        self._pulse.join(self._settings.drain_timeout_s)
        log.info("drained")

    terminate = stop

    def _on_shutting_down(self, **_: Any) -> None:
        # The consumer may be busy reconnecting and stop late; reading ends at once all the same.
        self._stopping.set()


def _prepare_database(settings: Settings, engine: Engine, manifest: Manifest) -> None:
    """Bring the schema up to date and register the model; wait a while for a database that is not there yet."""
    until = time.monotonic() + _DATABASE_WAIT_S
    while True:
        try:
            migrate(settings)
            register_production(engine, manifest)
            return
        except DatabaseUnavailableError as error:
            if time.monotonic() > until:
                raise
            log.warning("database_away", reason=str(error)[:200])
            time.sleep(1)


def _submit(pool: Any, run: Callable[[], None]) -> None:
    pool.apply_async(run, callback=_ignore)


def _ignore(result: object) -> None:
    """The pool wants to tell a result; `Slot.work` has already dealt with everything."""
