"""What every Celery app of Fenliu has in common: the broker, the queues and the form of messages."""

from __future__ import annotations

from typing import Any

from kombu.entity import Queue

from schemas.names import CLOCK_QUEUE, QUEUE
from schemas.settings import Settings


def configuration(settings: Settings) -> dict[str, Any]:
    """Celery's settings that senders and workers share."""
    return {
        "broker_url": settings.celery_broker_url,
        "broker_transport_options": {
            "global_keyprefix": settings.keys.celery_prefix,
            "socket_connect_timeout": 5,
            "socket_timeout": 8,  # a connection that a firewall has forgotten would keep a worker from stopping
            "socket_keepalive": True,
            "health_check_interval": 25,
        },
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "task_default_queue": QUEUE,
        "task_queues": tuple(Queue(name) for name in (QUEUE, CLOCK_QUEUE)),  # type: ignore[no-untyped-call]  # kombu
        "task_ignore_result": True,
        "task_serializer": "json",
        "accept_content": ["json"],
        "timezone": "UTC",
    }
