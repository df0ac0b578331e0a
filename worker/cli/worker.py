"""`fenliu worker`: one Celery worker that collects, classifies and writes."""

from __future__ import annotations

import itertools

import typer

from schemas.errors import SetupError
from schemas.printable import printable
from schemas.settings import load_settings
from schemas.stack import connected
from worker.pools import POOLS, refusal


def worker(context: typer.Context) -> None:
    """Run a worker. Takes every option of `celery worker`, such as --concurrency 4 or --loglevel debug."""
    refuse_other_pools(context.args)
    from celery.bin.celery import celery
    from click import ClickException  # Celery's, which is not Typer's

    from worker.app import create_app
    from worker.shelf import Shelf

    settings = connected(load_settings())
    app = create_app(settings)
    # Before Celery starts, so that a model that cannot be loaded is an error and no traceback.
    app.shelf = Shelf.open(settings, app.metrics.runs)
    # What `app.worker_main` does, but it forgets the exit code.
    celery.params[0].default = app
    try:
        code = celery.main(args=["worker", *context.args], standalone_mode=False) or 0
    except ClickException as error:
        said = " ".join(error.format_message().split())
        typer.echo(f"error: {printable(said)} `celery worker --help` lists the options.", err=True)
        code = error.exit_code
    raise typer.Exit(code)


def refuse_other_pools(arguments: list[str]) -> None:
    """Raise SetupError if `arguments` ask for a pool whose tasks do not share one process's memory.

    Before Celery sees them, since it would patch the process for green threads first. The bootstep says the
    same of workers that are started another way.
    """
    for argument, following in itertools.pairwise([*arguments, ""]):
        pool = None
        if argument in ("-P", "--pool"):
            pool = following
        elif argument.startswith("--pool="):
            pool = argument.removeprefix("--pool=")
        elif argument.startswith("-P"):
            pool = argument.removeprefix("-P")
        if pool is not None and pool not in POOLS:
            raise SetupError(refusal(pool))
