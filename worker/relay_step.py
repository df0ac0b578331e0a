"""The bootstep that gives every Celery worker its relay. Which of them delivers, `worker.relay.lead` decides.

It requires the collector's step, which brings the schema up to date, and so stops before it.
"""

from __future__ import annotations

from typing import Any

import structlog
from celery import bootsteps, signals
from sqlalchemy import NullPool

from schemas.database import make_engine
from worker.inbox import connect
from worker.relay.relay import Relay

log = structlog.get_logger(__name__)

_STOP_S = 2.0


class RelayStep(bootsteps.StartStopStep):  # type: ignore[misc]  # celery has no types
    """Starts the relay with the worker."""

    requires = ("worker.step:CollectorStep",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self.relay: Relay | None = None

    def start(self, worker: Any) -> None:
        """Begin to deliver, or to wait for the lead."""
        settings = worker.app.settings
        self.relay = Relay(
            engine=make_engine(settings, poolclass=NullPool), client=connect(settings), settings=settings
        )
        worker.app.metrics.relays(self.relay.tally)
        signals.worker_shutting_down.connect(self._on_shutting_down)
        self.relay.start()

    def stop(self, worker: Any) -> None:  # noqa: ARG002  # celery's signature
        """Give up the calls that run, and the lead. A thread that hangs in a server is left behind."""
        if self.relay is None:  # the worker did not get this far
            return
        self.relay.stop()
        self.relay.join(_STOP_S)
        if self.relay.is_alive():
            log.warning("relay_hangs", limit_s=_STOP_S)

    terminate = stop

    def _on_shutting_down(self, **_: Any) -> None:
        if self.relay is not None:
            self.relay.stop()
