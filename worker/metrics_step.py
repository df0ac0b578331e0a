"""The bootstep that shows a worker's metrics over HTTP. The other steps require it, and so it stops last."""

from __future__ import annotations

from typing import Any

import structlog
from celery import bootsteps

from schemas.errors import InboxUnavailableError
from schemas.settings import Settings
from worker.desk.gauges import of_inboxes, shown
from worker.desk.inboxes import look_at_inboxes
from worker.inbox import connect
from worker.metrics import Metrics
from worker.metrics_server import MetricsServer

log = structlog.get_logger(__name__)


class MetricsStep(bootsteps.StartStopStep):  # type: ignore[misc]  # celery has no types
    """Listens as soon as it is made, so that a port in use ends the worker before it takes anything."""

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        settings: Settings = worker.app.settings
        self._server: MetricsServer | None = None
        if settings.metrics_port:
            client = connect(settings)

            def wrong() -> str | None:
                try:
                    return look_at_inboxes(client, settings.keys).standing_still()
                except InboxUnavailableError as error:
                    return str(error)

            def page() -> bytes:
                try:
                    inboxes = of_inboxes(client, settings.keys)
                except InboxUnavailableError:
                    return metrics.page()
                return metrics.page() + shown(inboxes)

            metrics: Metrics = worker.app.metrics
            self._server = MetricsServer(settings.metrics_host, settings.metrics_port, page=page, wrong=wrong)

    def start(self, worker: Any) -> None:
        """Begin to answer."""
        if self._server is not None:
            self._server.start()
            log.info("metrics_shown", host=worker.app.settings.metrics_host, port=self._server.port)

    def stop(self, worker: Any) -> None:  # noqa: ARG002  # celery's signature
        """Give the port back."""
        if self._server is not None:
            self._server.close()

    terminate = stop
