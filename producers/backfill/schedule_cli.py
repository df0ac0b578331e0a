"""`fenliu backfill schedule`: backfills that start by themselves, by a cron expression."""

from __future__ import annotations

import getpass
import inspect
import json
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from producers.backfill import schedules
from producers.backfill.options import Options
from producers.sources import STDIN
from schemas.database import make_engine
from schemas.errors import ScheduleError
from schemas.settings import load_settings
from schemas.stack import connected

_Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the schedule.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_NOT_KEPT = {"no_wait", "as_json"}

ReadOptions = Callable[..., tuple[Options, str | None]]


def schedule_app(start: Callable[..., None], read_options: ReadOptions) -> typer.Typer:
    """The commands, for `fenliu backfill` to add. `add` takes every option of `start` that a run can have."""
    app = typer.Typer(no_args_is_help=True, help="Backfills that start by themselves, such as every night.")

    def add(
        name: _Name,
        *,
        cron: Annotated[str, typer.Option(help="When: minute hour day-of-month month day-of-week, as '0 2 * * *'.")],
        timezone: Annotated[str, typer.Option(help="Whose clock that is, such as Asia/Shanghai.")] = "UTC",
        catch_up: Annotated[
            bool, typer.Option("--catch-up/--skip-missed", help="Whether to start late what was missed, once.")
        ] = False,
        by: Annotated[str | None, typer.Option(help="Who adds it. Default: the user's name.")] = None,
        as_json: _Json = False,
        **start_options: Any,
    ) -> None:
        """Let a backfill start by itself. Takes the options of `fenliu backfill start`.

        A worker runs it, as a process of its own: the file must be there for the
        workers, and the URL of a database in a variable of theirs (--url-env).
        """
        options, url = read_options(start_options.pop("origin"), **start_options)
        if options.origin == STDIN:
            raise typer.BadParameter("a schedule cannot read a pipe; name a file", param_hint="SOURCE")
        if url and not options.url_env:
            raise typer.BadParameter(
                "a schedule keeps no URL, which may hold a password: put it in a variable of the workers and name "
                "that with --url-env",
                param_hint="SOURCE",
            )
        engine = make_engine(connected(load_settings()))
        try:
            first = schedules.add(
                engine, name, cron=cron, timezone=timezone, catch_up=catch_up, options=options,
                by=by or getpass.getuser(),
            )  # fmt: skip
        except ScheduleError as error:
            raise typer.BadParameter(str(error)) from None
        _say(as_json, {"name": name, "next_run_at": first.isoformat()}, f"{name}: first run at {_shown(first)}")

    app.command()(_with_parameters_of(add, start))
    app.command("list")(list_)
    for command in (remove, enable, disable):
        app.command()(command)
    return app


def list_(as_json: _Json = False) -> None:
    """List schedules, when each runs next, and what became of its last run."""
    found = schedules.every(make_engine(connected(load_settings())))
    if as_json:
        typer.echo(json.dumps([schedule.as_json() for schedule in found], ensure_ascii=False))
        return
    if not found:
        typer.echo("no schedules")
        return
    table = Table("name", "cron", "next run", "last run", "outcome", "newest backfill")
    for each in found:
        next_run = _shown(each.next_run_at) if each.enabled else "disabled"
        newest = f"{each.backfill_id}: {each.backfill_state}" if each.backfill_id else ""
        if each.backfill_error:
            newest += f", {each.backfill_error}"
        cron = f"{each.cron} {each.timezone}" + (", catches up" if each.catch_up else "")
        table.add_row(
            *map(Text, (each.name, cron, next_run, _shown(each.last_run_at), each.last_outcome or "", newest))
        )
    Console().print(table)


def remove(name: _Name, as_json: _Json = False) -> None:
    """Forget a schedule. A backfill that it has started goes on."""
    schedules.remove(make_engine(connected(load_settings())), name)
    _say(as_json, {"removed": name}, f"{name} is removed")


def enable(name: _Name, as_json: _Json = False) -> None:
    """Let a schedule run again, from now on."""
    due = schedules.enable(make_engine(connected(load_settings())), name)
    _say(as_json, {"name": name, "next_run_at": due.isoformat()}, f"{name}: next run at {_shown(due)}")


def disable(name: _Name, as_json: _Json = False) -> None:
    """Start no more runs of a schedule until it is enabled. One that runs goes on."""
    schedules.disable(make_engine(connected(load_settings())), name)
    _say(as_json, {"disabled": name}, f"{name} is disabled")


def _with_parameters_of(add: Callable[..., None], start: Callable[..., None]) -> Callable[..., None]:
    """`add`, with the parameters of `start` where it says `**start_options`, for Typer to read."""
    own = [each for each in _parameters(add) if each.kind is not each.VAR_KEYWORD]
    others = [each for each in _parameters(start) if each.name not in _NOT_KEPT]
    positional = [each for each in (*own, *others) if each.kind is each.POSITIONAL_OR_KEYWORD]
    keyword = [each for each in (*own, *others) if each.kind is each.KEYWORD_ONLY]
    add.__signature__ = inspect.Signature([*positional, *keyword])  # type: ignore[attr-defined]
    add.__annotations__ = {each.name: each.annotation for each in (*positional, *keyword)}
    return add


def _parameters(function: Callable[..., None]) -> list[inspect.Parameter]:
    return list(inspect.signature(function, eval_str=True).parameters.values())


def _say(as_json: bool, value: dict[str, str], text: str) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False) if as_json else text)


def _shown(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}Z" if moment else ""
