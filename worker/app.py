"""The Celery app: its configuration, its one queue, and the bootstep that makes every worker a collector.

Made by `create_app`; importing this module opens nothing. `celery -A worker.app …` (Flower, remote control)
finds the app as the module's attribute `app`, made when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery import Celery, signals
from kombu.entity import Queue

from schemas.names import QUEUE
from schemas.settings import Settings, cpu_quota, load_settings
from schemas.stack import connected
from schemas.telemetry import configure_logging
from worker.tasks import register_tasks

if TYPE_CHECKING:
    from worker.shelf import Shelf


class FenliuApp(Celery):  # type: ignore[misc]  # celery has no types
    """A Celery app that carries its settings to its bootstep and tasks."""

    settings: Settings
    shelf: Shelf | None = None
    """Models that are loaded already; the bootstep loads them otherwise."""


def create_app(settings: Settings) -> FenliuApp:
    """The app for `settings`, whose URLs must be set."""
    app = FenliuApp("fenliu", set_as_current=False)
    app.settings = settings
    app.conf.update(
        broker_url=settings.celery_broker_url,
        broker_transport_options={
            "global_keyprefix": settings.keys.celery_prefix,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 25,
        },
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        task_default_queue=QUEUE,
        task_queues=(Queue(QUEUE),),  # type: ignore[no-untyped-call]  # kombu is half typed
        task_ignore_result=True,
        task_acks_late=True,
        task_serializer="json",
        accept_content=["json"],
        worker_pool="threads",
        worker_concurrency=settings.slots or cpu_quota(),
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        timezone="UTC",
    )
    register_tasks(app, settings)
    # Here and not at the top: it loads ONNX Runtime, which those who only send tasks do not need.
    from worker.step import CollectorStep

    app.steps["worker"].add(CollectorStep)
    signals.setup_logging.connect(lambda **_: configure_logging(settings), weak=False)
    return app


def __getattr__(name: str) -> Any:
    if name == "app":
        return create_app(connected(load_settings()))
    raise AttributeError(name)
