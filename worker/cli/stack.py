"""`fenliu up`, `down`, `env` and `status`: the stack of one home, started, stopped and looked at."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.errors import SetupError
from schemas.settings import Settings, load_settings, mask_url
from schemas.stack import connected, is_supervised

if TYPE_CHECKING:
    from worker.desk.inboxes import InboxesState
    from worker.status import TablesState


def up(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when everything is ready.")] = False,
    slots: Annotated[int, typer.Option(min=0, max=256, help="Batches run at once. 0: the CPU quota.")] = 0,
) -> None:
    """Start Redis and PostgreSQL (those whose URL is not set), bring the schema up to date, run a worker.

    Stays in the foreground until Ctrl-C or SIGTERM, which finish what runs and stop everything.
    """
    settings = _settings(slots)
    if detach:
        _up_detached(settings)
        return
    from worker.supervisor import Supervisor

    Supervisor(settings, typer.echo).run(lambda ready: _say_ready(ready, "Ctrl-C stops it."))


def _up_detached(settings: Settings) -> None:
    from worker.detached import start_detached

    if is_supervised(settings.home):
        typer.echo(f"a stack runs in {settings.home} already")
        return
    start_detached(settings.home, ["--slots", str(settings.slots)], os.environ)
    _say_ready(connected(settings), "`fenliu down` stops it.")


def _say_ready(settings: Settings, how_to_stop: str) -> None:
    typer.echo(f"Fenliu is up in {settings.home}")
    typer.echo(f"  Redis       {mask_url(settings.redis_url)}")
    typer.echo(f"  PostgreSQL  {mask_url(settings.database_url)}")
    typer.echo(f"  logs        {settings.home / 'logs'}")
    typer.echo(f"`fenliu status` shows how it goes, `fenliu env` prints the URLs. {how_to_stop}")


def down() -> None:
    """Stop the stack of this home and wait for it. What runs is finished; what waits stays in the inbox."""
    from worker.supervisor import stop_stack

    settings = _settings()
    stopped = stop_stack(settings.home, typer.echo)
    typer.echo(f"{'stopped' if stopped else 'nothing runs in'} {settings.home}")


def env() -> None:
    """Print FENLIU_REDIS_URL= and FENLIU_DATABASE_URL= lines, for `eval` and for .env files."""
    settings = connected(_settings())
    typer.echo(f"FENLIU_REDIS_URL={settings.redis_url}")
    typer.echo(f"FENLIU_DATABASE_URL={settings.database_url}")


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    healthy: Annotated[
        bool, typer.Option("--healthy", help="Print nothing if the inboxes move; else say why not and exit 1.")
    ] = False,
) -> None:
    """Show inboxes, workers, dead letters, speed and the models in production."""
    from schemas.database import make_engine
    from worker.desk.inboxes import look_at_inboxes
    from worker.inbox import connect
    from worker.status import look_at_tables

    settings = connected(_settings())
    with connect(settings) as client:
        inboxes = look_at_inboxes(client, settings.keys)
    why = inboxes.standing_still()
    if healthy:
        if why:
            raise SetupError(why)
        return
    engine = make_engine(settings)
    try:
        tables = look_at_tables(engine)
    finally:
        engine.dispose()
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "inboxes": {lane.value: asdict(state) for lane, state in inboxes.inboxes.items()},
                    "workers": inboxes.workers,
                    **asdict(tables),
                    "moving": why is None,
                },
                ensure_ascii=False,
            )
        )
    else:
        _print_status(inboxes, tables, why)


def _print_status(inboxes: InboxesState, tables: TablesState, why: str | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from worker.cli.cells import cell

    console = Console(markup=False)
    table = Table("inbox", "backlog", "pending", "oldest")
    for lane, state in inboxes.inboxes.items():
        age = "" if state.oldest_age_s is None else f"{state.oldest_age_s:,.1f} s"
        table.add_row(lane.value, f"{state.backlog:,}", f"{state.pending:,}", age)
    console.print(table)
    table = Table("worker", "slots", "model", "items", "last commit")
    for worker in inboxes.workers:
        last = worker["last_commit_at"]
        ago = f"{max(0, inboxes.now_s - last):,.0f} s ago" if last else "none yet"
        cells = f"{worker['host']}:{worker['pid']}", f"{worker['slots']}", str(worker["model"]), f"{worker['items']:,}"
        table.add_row(*map(cell, (*cells, ago)))
    console.print(table)
    models = ", ".join(f"{model['name']}/{model['version']}" for model in tables.models) or "none yet"
    console.print(f"items per second, last minute: {tables.items_per_s:,.2f}")
    console.print(f"dead letters not replayed: {tables.dead_letters:,}")
    console.print(f"models in production: {models}")
    if why:
        console.print(f"the inboxes stand still: {why}", style="bold red")


def _settings(slots: int = 0) -> Settings:
    settings = load_settings()
    return settings.model_copy(update={"home": settings.home.expanduser().absolute(), "slots": slots or settings.slots})
