"""What both Celery peers are configured with, and how their workers begin.

As Celery's "Optimizing" page has it for many short tasks: a prefetch multiplier of 64. Concurrency is the number of
CPUs, Celery's default. Results go to Redis only where a caller wants one. Everything else is Celery's default; so
messages are acknowledged before a task runs, and a worker that dies loses what it has taken.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from celery import Celery

QUEUE, TASK = "texts", "peers.classify"


@dataclass(frozen=True)
class Place:
    """Where a worker finds what it needs, from PEER_* variables."""

    broker: str
    database_url: str
    model: Path


def place() -> Place:
    """From the environment. KeyError if a variable is missing."""
    return Place(os.environ["PEER_BROKER"], os.environ["PEER_DATABASE"], Path(os.environ["PEER_MODEL"]))


def make_app(broker: str) -> Celery:
    """An app, for workers and for those who send."""
    app = Celery("peer", broker=broker, backend=broker)
    app.conf.update(task_default_queue=QUEUE, worker_prefetch_multiplier=64, broker_connection_retry_on_startup=True)
    return app


def work(app: Celery, pool: str, concurrency: str) -> None:
    """Be a worker until told to stop."""
    app.worker_main(["worker", "--pool", pool, "--concurrency", concurrency, "--loglevel", "WARNING"])
