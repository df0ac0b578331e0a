"""The Celery app of workers: its configuration, and the bootstep that makes every worker a collector.

Made by `create_app`; importing this module opens nothing. `celery -A worker.app …` (Flower, remote control)
finds the app as the module's attribute `app`, made when it is first asked for. The clock's app is `worker.clock`'s.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from celery import Celery, signals

from schemas.names import TASK_TICK
from schemas.settings import Settings, load_settings
from schemas.stack import connected
from schemas.telemetry import configure_logging
from worker.broker import configuration
from worker.tasks import register_tasks

if TYPE_CHECKING:
    from worker.metrics import Metrics
    from worker.shelf import Shelf


class FenliuApp(Celery):  # type: ignore[misc]  # celery has no types
    """A Celery app that carries its settings to its bootstep and tasks."""

    settings: Settings
    metrics: Metrics
    shelf: Shelf | None = None
    """Models that are loaded already; the bootstep loads them otherwise."""


def create_app(settings: Settings) -> FenliuApp:
    """The app for `settings`, whose URLs must be set."""
    app = FenliuApp("fenliu", set_as_current=False)
    app.settings = settings
    app.conf.update(
        **configuration(settings),
        task_acks_late=True,
        worker_pool="threads",
        worker_concurrency=settings.slots_at_once,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
    )
    register_tasks(app, settings)
    # Here and not at the top: it loads ONNX Runtime, which those who only send tasks do not need.
    from worker.metrics import Metrics
    from worker.metrics_step import MetricsStep
    from worker.relay_step import RelayStep
    from worker.step import CollectorStep

    app.metrics = Metrics()
    app.steps["worker"].add(MetricsStep)
    app.steps["worker"].add(CollectorStep)
    app.steps["worker"].add(RelayStep)
    signals.setup_logging.connect(lambda **_: _configure_logging(settings), weak=False)
    return app


def _configure_logging(settings: Settings) -> None:
    configure_logging(settings)
    for name in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(name).addFilter(_is_no_tick)


def _is_no_tick(record: logging.LogRecord) -> bool:
    """Whether Celery speaks of something else than a tick that went well, of which there are thousands a day."""
    return not (
        record.levelno <= logging.INFO and isinstance(record.args, dict) and record.args.get("name") == TASK_TICK
    )


def __getattr__(name: str) -> Any:
    if name == "app":
        return create_app(connected(load_settings()))
    raise AttributeError(name)
