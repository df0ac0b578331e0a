"""`fenliu prune`: retention by hand, and what the clock starts every night."""

from __future__ import annotations

import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from sqlalchemy import Engine

from schemas.database import make_engine
from schemas.errors import FenliuError
from schemas.settings import load_settings
from schemas.stack import connected
from worker.desk import prune as desk
from worker.desk.prune import Ages, Counts

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_LEAST = timedelta(days=1)
_SAY_EVERY_S = 5.0


def prune(
    older_than: Annotated[
        str | None,
        typer.Option(metavar="AGE", help="180d, 26w or 36h. Default: FENLIU_RETENTION_DAYS and FENLIU_DELIVERED_DAYS."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Allow an age of less than a day.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Delete what is older than an age, for good.

    Items by the time a worker last took them, with their results, teams,
    history, reviews and announcements; dead letters; announcements that were
    delivered; backfills that have ended. Deletes a thousand at a time with
    pauses, so that live writing goes on; cut off, run it again.
    """
    settings = connected(load_settings())
    ages = Ages.of(settings) if older_than is None else Ages.all(_age(older_than, yes))
    if not ages:
        raise typer.BadParameter(
            "say how old, such as 180d, or set FENLIU_RETENTION_DAYS for every night", param_hint="--older-than"
        )
    engine = make_engine(settings, statement_timeout_s=0)
    try:
        counts = desk.count(engine, ages) if dry_run else _prune(engine, ages)
    finally:
        engine.dispose()
    if as_json:
        typer.echo(json.dumps({"deleted": not dry_run, "rows": counts}))
        return
    for table, rows in counts.items():
        typer.echo(f"{rows:>12,}  {table}")
    typer.echo("nothing was deleted: a dry run" if dry_run else f"{sum(counts.values()):,} rows deleted")


def _prune(engine: Engine, ages: Ages) -> Counts:
    done: Counts = Counter()
    with _display(engine, ages) as show:

        def on_chunk(counts: Counts) -> None:
            done.update(counts - done)
            show(counts)

        try:
            return desk.prune(engine, ages, on_chunk=on_chunk)
        except FenliuError as error:
            raise type(error)(f"{error}\n{sum(done.values()):,} rows were deleted before that; run it again") from error


@contextmanager
def _display(engine: Engine, ages: Ages) -> Iterator[Callable[[Counts], None]]:
    """A progress bar on a terminal, a plain line now and then elsewhere; both on standard error."""
    if not sys.stderr.isatty():
        said_s = time.monotonic()

        def say(counts: Counts) -> None:
            nonlocal said_s
            if time.monotonic() - said_s >= _SAY_EVERY_S:
                said_s = time.monotonic()
                typer.echo(f"{counts['items']:,} items, {sum(counts.values()):,} rows deleted", err=True)

        yield say
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("counting", total=None)
        progress.update(task, total=sum(desk.count(engine, ages).values()))
        yield lambda counts: progress.update(
            task, completed=sum(counts.values()), description=f"{sum(counts.values()):,} rows deleted"
        )


def _age(value: str, yes: bool) -> timedelta:
    match = re.fullmatch(r"([0-9]{1,5})([hdw])", value)
    if match is None or int(match[1]) == 0:
        raise typer.BadParameter(f"{value!r} is no age; use 180d, 26w or 36h", param_hint="--older-than")
    age = timedelta(**{_UNITS[match[2]]: int(match[1])})
    if age < _LEAST and not yes:
        raise typer.BadParameter(f"{value} is less than a day; if you mean it, add --yes", param_hint="--older-than")
    return age
