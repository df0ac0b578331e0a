"""`fenliu dead-letters`: list what could not be classified, mend it, send it back, or drop it."""

from __future__ import annotations

import getpass
import json
import os
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from schemas.database import make_engine
from schemas.errors import Code, DeadLetterError, FenliuError
from schemas.names import Lane
from schemas.printable import printable_json
from schemas.raw import raw_from_json, raw_to_json
from schemas.settings import load_settings
from schemas.stack import connected
from worker import inbox
from worker.cli.cells import cell
from worker.cli.since import since_time
from worker.desk import dead_letters, replays
from worker.desk.dead_letters import MOST_SEARCHED, DeadLetter, Filter, LetterState

app = typer.Typer(help="Entries that could not be classified.", no_args_is_help=True)

_Ids = Annotated[list[int] | None, typer.Option("--id", help="This one; may be given several times.")]
_Code = Annotated[Code | None, typer.Option("--code", help="Those with this code.")]
_Field = Annotated[str | None, typer.Option("--field", help="Those whose error is in this field.")]
_Source = Annotated[str | None, typer.Option("--source", help="Those of this source.")]
_Item = Annotated[str | None, typer.Option("--item", help="Those of the item with this id.")]
_Lane = Annotated[Lane | None, typer.Option("--lane", help="Those of this inbox.")]
_Since = Annotated[str | None, typer.Option("--since", help="Those of the last 90s, 30m, 12h or 7d, or since a time.")]
_Until = Annotated[str | None, typer.Option("--until", help="Those before that: as for --since.")]
_Contains = Annotated[str | None, typer.Option("--contains", help="Those with this in a field, in whatever case.")]
_All = Annotated[bool, typer.Option("--all", help="All of them.")]
_By = Annotated[str | None, typer.Option(help="Who does it. Default: the user's name.")]
_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_(
    *,
    ids: _Ids = None,
    code: _Code = None,
    field: _Field = None,
    source: _Source = None,
    item: _Item = None,
    lane: _Lane = None,
    since: _Since = None,
    until: _Until = None,
    contains: _Contains = None,
    replayed: Annotated[bool, typer.Option("--replayed", help="Also those that were sent back.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many, newest first.")] = 100,
    as_json: _AsJson = False,
) -> None:
    """List dead letters, newest first. With --json: one object a line, with the raw fields."""
    which = Filter(
        ids or (), code, source, since_time(since), _state(replayed), field, lane, item, since_time(until),
        contains or None,
    )  # fmt: skip
    engine = make_engine(connected(load_settings()))
    found = dead_letters.page(engine, which, rows=limit)
    if found.is_cut:
        typer.echo(f"the text was looked for in the newest {MOST_SEARCHED} alone: narrow the rest", err=True)
    if as_json:
        for letter in found.letters:
            typer.echo(printable_json(json.dumps(_as_json(letter), ensure_ascii=False)))
        return
    if not found.letters:
        typer.echo("no dead letters")
        return
    table = Table("id", "when", "item", "code", "what to mend")
    for letter in found.letters:
        whose = f"{letter.source}/{letter.item_id}" if letter.item_id is not None else f"entry {letter.entry_id}"
        sent_back = " (sent back)" if letter.replayed_at else ""
        cells = str(letter.id), f"{letter.created_at:%F %T}Z", whose, letter.code + sent_back, letter.message
        table.add_row(*map(cell, cells))
    Console().print(table)
    counts = dead_letters.count(engine, which)
    typer.echo(f"{sum(counts.values())} in all: " + ", ".join(f"{many} {name}" for name, many in counts.items()))


@app.command()
def replay(
    *,
    ids: _Ids = None,
    code: _Code = None,
    field: _Field = None,
    source: _Source = None,
    item: _Item = None,
    lane: _Lane = None,
    since: _Since = None,
    until: _Until = None,
    contains: _Contains = None,
    everything: _All = False,
    again: Annotated[bool, typer.Option("--again", help="Also those that were sent back before.")] = False,
    by: _By = None,
    as_json: _AsJson = False,
) -> None:
    """Send dead letters back to their inbox, as they were.

    They keep the time of the first entry, so that what is newer stays. What is
    still wrong makes a new dead letter.
    """
    which = Filter(
        ids or (), code, source, since_time(since), _state(again), field, lane, item, since_time(until),
        contains or None,
    )  # fmt: skip
    _check_chosen(which, everything)
    settings = connected(load_settings())
    sent = 0
    try:
        with inbox.connect(settings) as server:
            for _ in replays.replay(
                make_engine(settings), server, settings.keys, which,
                by=by or getpass.getuser(), inbox_bound=settings.inbox_bound,
            ):  # fmt: skip
                sent += 1
    except FenliuError as error:
        raise type(error)(f"{error}\n{sent} were sent back before that") from error
    typer.echo(json.dumps({"replayed": sent}) if as_json else f"{sent} sent back")


@app.command()
def edit(
    letter_id: Annotated[int, typer.Argument(metavar="ID", min=1, max=2**63 - 1, help="The letter, as `list` says.")],
    *,
    values: Annotated[list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Its new value.")] = None,
    unset: Annotated[list[str] | None, typer.Option(metavar="FIELD", help="Leave this field out.")] = None,
    by: _By = None,
    as_json: _AsJson = False,
) -> None:
    """Mend the fields of one dead letter and send it back.

    The letter keeps its own fields. What a worker would refuse is not sent.
    """
    if not values and not unset:
        raise typer.BadParameter("say what to mend: --set FIELD=VALUE or --unset FIELD")
    settings = connected(load_settings())
    engine = make_engine(settings)
    letter = dead_letters.one(engine, letter_id)
    if letter is None:
        raise DeadLetterError(f"there is no dead letter {letter_id}")
    fields = dict(raw_from_json(letter.raw))
    for name in unset or ():
        if fields.pop(os.fsencode(name), None) is None:
            raise typer.BadParameter(f"the letter has no field {name!r}; it has {', '.join(raw_to_json(fields))}")
    for given in values or ():
        name, sign, value = given.partition("=")
        if not sign or not name:
            raise typer.BadParameter(f"{given!r} is not FIELD=VALUE")
        fields[os.fsencode(name)] = os.fsencode(value)
    with inbox.connect(settings) as server:
        sent = replays.mend(
            engine, server, settings.keys, letter_id, fields, by=by or getpass.getuser(),
            inbox_bound=settings.inbox_bound, seen_as=letter.replayed_as,
        )  # fmt: skip
    typer.echo(json.dumps({"replayed_as": sent}) if as_json else f"sent back as {sent}")


@app.command()
def drop(
    *,
    ids: _Ids = None,
    code: _Code = None,
    field: _Field = None,
    source: _Source = None,
    item: _Item = None,
    lane: _Lane = None,
    since: _Since = None,
    until: _Until = None,
    contains: _Contains = None,
    everything: _All = False,
    replayed: Annotated[bool, typer.Option("--replayed", help="Also those that were sent back.")] = False,
    as_json: _AsJson = False,
) -> None:
    """Delete dead letters for good."""
    which = Filter(
        ids or (), code, source, since_time(since), _state(replayed), field, lane, item, since_time(until),
        contains or None,
    )  # fmt: skip
    _check_chosen(which, everything)
    dropped = dead_letters.drop(make_engine(connected(load_settings())), which)
    typer.echo(json.dumps({"dropped": dropped}) if as_json else f"{dropped} dropped")


def _state(also_replayed: bool) -> LetterState:
    return LetterState.ALL if also_replayed else LetterState.WAITING


def _check_chosen(which: Filter, everything: bool) -> None:
    if which.is_all != everything:
        raise typer.BadParameter(
            "say which: --id, --code, --field, --source, --item, --lane, --since, --until, --contains, or else --all"
        )


def _as_json(letter: DeadLetter) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(letter).items()}
