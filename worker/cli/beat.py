"""`fenliu beat`: the clock that starts what is scheduled."""

from __future__ import annotations

import logging

from celery import signals

from schemas.settings import Settings, load_settings
from schemas.stack import connected
from schemas.telemetry import configure_logging
from worker.clock import run_clock


def beat() -> None:
    """Run the clock: every few seconds it tells a worker to look what is due.

    Any number of them may run: what is due starts once. `fenliu up` runs one.
    """
    settings = connected(load_settings())
    signals.setup_logging.connect(lambda **_: _configure_logging(settings), weak=False)
    run_clock(settings)


def _configure_logging(settings: Settings) -> None:
    configure_logging(settings)
    # It would say at INFO that it sends a tick, thousands of times a day.
    logging.getLogger("celery.beat").setLevel(max(logging.getLogger().level, logging.WARNING))
