"""`fenliu dead-letters`: list what could not be classified, send it back, or drop it."""

from __future__ import annotations

import getpass
import json
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from schemas.database import make_engine
from schemas.errors import Code, FenliuError
from schemas.settings import load_settings
from schemas.stack import connected
from worker import inbox
from worker.cli.since import since_time
from worker.desk import dead_letters
from worker.desk.dead_letters import DeadLetter, Filter

app = typer.Typer(help="Entries that could not be classified.", no_args_is_help=True)

_Ids = Annotated[list[int] | None, typer.Option("--id", help="This one; may be given several times.")]
_Code = Annotated[Code | None, typer.Option("--code", help="Those with this code.")]
_Source = Annotated[str | None, typer.Option("--source", help="Those of this source.")]
_Since = Annotated[str | None, typer.Option("--since", help="Those of the last 90s, 30m, 12h or 7d, or since a time.")]
_All = Annotated[bool, typer.Option("--all", help="All of them.")]
_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_(
    *,
    ids: _Ids = None,
    code: _Code = None,
    source: _Source = None,
    since: _Since = None,
    replayed: Annotated[bool, typer.Option("--replayed", help="Also those that were sent back.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many, newest first.")] = 100,
    as_json: _AsJson = False,
) -> None:
    """List dead letters, newest first. With --json: one object a line, with the raw fields."""
    which = Filter(ids or (), code, source, since_time(since), replayed)
    engine = make_engine(connected(load_settings()))
    found = dead_letters.find(engine, which, limit=limit)
    if as_json:
        for letter in found:
            typer.echo(json.dumps(_as_json(letter), ensure_ascii=False))
        return
    if not found:
        typer.echo("no dead letters")
        return
    table = Table("id", "when", "item", "code", "what to mend")
    for letter in found:
        item = f"{letter.source}/{letter.item_id}" if letter.item_id is not None else f"entry {letter.entry_id}"
        sent_back = " (sent back)" if letter.replayed_at else ""
        cells = str(letter.id), f"{letter.created_at:%F %T}Z", item, letter.code + sent_back, letter.message
        table.add_row(*map(Text, cells))
    Console().print(table)
    counts = dead_letters.count(engine, which)
    typer.echo(f"{sum(counts.values())} in all: " + ", ".join(f"{many} {name}" for name, many in counts.items()))


@app.command()
def replay(
    *,
    ids: _Ids = None,
    code: _Code = None,
    source: _Source = None,
    since: _Since = None,
    everything: _All = False,
    again: Annotated[bool, typer.Option("--again", help="Also those that were sent back before.")] = False,
    by: Annotated[str | None, typer.Option(help="Who does it. Default: the user's name.")] = None,
    as_json: _AsJson = False,
) -> None:
    """Send dead letters back to their inbox, as they were.

    They keep the time of the first entry, so that what is newer stays. What is
    still wrong makes a new dead letter.
    """
    which = _chosen(Filter(ids or (), code, source, since_time(since), again), everything)
    settings = connected(load_settings())
    sent = 0
    try:
        with inbox.connect(settings) as server:
            for _ in dead_letters.replay(
                make_engine(settings), server, settings.keys, which,
                by=by or getpass.getuser(), inbox_bound=settings.inbox_bound,
            ):  # fmt: skip
                sent += 1
    except FenliuError as error:
        raise type(error)(f"{error}\n{sent} were sent back before that") from error
    typer.echo(json.dumps({"replayed": sent}) if as_json else f"{sent} sent back")


@app.command()
def drop(
    *,
    ids: _Ids = None,
    code: _Code = None,
    source: _Source = None,
    since: _Since = None,
    everything: _All = False,
    replayed: Annotated[bool, typer.Option("--replayed", help="Also those that were sent back.")] = False,
    as_json: _AsJson = False,
) -> None:
    """Delete dead letters for good."""
    which = _chosen(Filter(ids or (), code, source, since_time(since), replayed), everything)
    dropped = dead_letters.drop(make_engine(connected(load_settings())), which)
    typer.echo(json.dumps({"dropped": dropped}) if as_json else f"{dropped} dropped")


def _chosen(which: Filter, everything: bool) -> Filter:
    narrowed = bool(which.ids or which.code or which.source is not None or which.since)
    if narrowed == everything:
        raise typer.BadParameter("say which: --id, --code, --source, --since, or else --all")
    return which


def _as_json(letter: DeadLetter) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(letter).items()}
