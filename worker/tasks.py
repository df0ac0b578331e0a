"""Celery tasks: the jobs that come as messages. Batches of the inbox are none; the collector hands them over."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import redis
from celery import Celery, signals

from schemas.errors import InboxUnavailableError
from schemas.names import TASK_ENQUEUE, TASK_TICK, Lane
from schemas.settings import Settings
from worker.inbox import connect, translated
from worker.tick import Ticker


def register_tasks(app: Celery, settings: Settings) -> None:
    """Define Fenliu's tasks on `app`."""

    @cache
    def client() -> redis.Redis:
        return connect(settings)

    @app.task(  # type: ignore[untyped-decorator]  # celery has no types
        name=TASK_ENQUEUE,
        autoretry_for=(InboxUnavailableError,),
        retry_backoff=True,
        retry_backoff_max=30,
        max_retries=None,
    )
    def enqueue(items: Sequence[Mapping[str, Any]] = (), lane: str = Lane.LIVE, **fields: Any) -> int:
        """Put one item (its fields as keyword arguments) or several (`items`) into an inbox; how many.

        Nothing is checked here: an item that breaks the contract becomes a dead letter that says so, while
        an error of this task would be seen by nobody.
        """
        added = [*items, fields] if fields else list(items)
        stream = settings.keys.inbox(Lane.BULK if lane == Lane.BULK else Lane.LIVE)
        with translated():
            pipe = client().pipeline(transaction=True)
            for item in added:
                pipe.xadd(
                    stream, {as_bytes(name): as_bytes(value) for name, value in item.items() if value is not None}
                )
            pipe.execute()
        return len(added)

    ticker = Ticker(settings)

    @app.task(name=TASK_TICK, acks_late=False)  # type: ignore[untyped-decorator]
    def tick() -> None:
        """Start what is due."""
        ticker.tick()

    signals.worker_shutdown.connect(ticker.end, weak=False)


def as_bytes(value: object) -> bytes:
    """A JSON value as the inbox wants it: text as it is, yes or no, and JSON for the rest."""
    if isinstance(value, bool):
        value = "yes" if value else "no"
    elif isinstance(value, int | float):
        value = str(value)
    elif not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False)
    # Half a surrogate pair can come in JSON; it goes through, for the dead letter to name the field.
    return value.encode("utf-8", "surrogatepass")
