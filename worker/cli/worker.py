"""`fenliu worker`: one Celery worker that collects, classifies and writes."""

from __future__ import annotations

import typer

from schemas.settings import load_settings
from schemas.stack import connected


def worker(context: typer.Context) -> None:
    """Run a worker. Takes every option of `celery worker`, such as --concurrency 4 or --loglevel debug."""
    from worker.app import create_app

    settings = connected(load_settings())
    create_app(settings).worker_main(["worker", *context.args])
