"""`fenliu tickets`: look at tickets, give one to another team, give it back to the model."""

from __future__ import annotations

import getpass
import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine

from schemas.database import make_engine
from schemas.errors import PermanentError
from schemas.names import AssignmentStatus
from schemas.settings import load_settings
from schemas.stack import connected
from worker.cli.cells import cell
from worker.cli.row_json import row_json
from worker.desk import ticket_views, tickets
from worker.desk.ticket_views import TicketView
from worker.desk.tickets import Moved

app = typer.Typer(help="Tickets and the teams they are with.", no_args_is_help=True)

_TOP_SCORES = 5
_SHOWN_CHARS = 50

_ItemId = Annotated[str, typer.Argument(metavar="ID", help="The ticket's own id in its source.")]
_Source = Annotated[str | None, typer.Option("--source", help="Its source, needed where several have this id.")]
_By = Annotated[str | None, typer.Option("--by", help="Who does it. Default: the user's name.")]
_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def show(item_id: _ItemId, source: _Source = None, as_json: _AsJson = False) -> None:
    """Show a ticket: its team, the scores, who moved it when and why, and who was told."""
    engine = make_engine(connected(load_settings()))
    source = _source_of(engine, item_id, source)
    view = ticket_views.show(engine, source, item_id)
    if view is None:
        raise PermanentError(f"there is no ticket {item_id!r} of source {source!r}")
    if as_json:
        typer.echo(row_json(asdict(view)))
        return
    _print(view)


@app.command()
def assign(
    item_id: _ItemId,
    team: Annotated[str, typer.Argument(metavar="TEAM", help="A team of its route set, or triage.")],
    *,
    why: Annotated[str, typer.Option("--why", help="The reason, kept in the ticket's history.")],
    by: _By = None,
    source: _Source = None,
    any_team: Annotated[bool, typer.Option("--any-team", help="Also a team that its route set does not have.")] = False,
    as_json: _AsJson = False,
) -> None:
    """Give a ticket to a team.

    It stays there whatever a model says later, until it is assigned again or
    released. Giving it to the team that it has confirms that team.
    """
    engine = make_engine(connected(load_settings()))
    source = _source_of(engine, item_id, source)
    moved = tickets.assign(engine, source, item_id, team, by=by or getpass.getuser(), why=why, any_team=any_team)
    _report(moved, as_json, f"confirmed with {moved.team}")


@app.command()
def release(
    item_id: _ItemId,
    *,
    why: Annotated[str, typer.Option("--why", help="The reason, kept in the ticket's history.")] = "",
    by: _By = None,
    source: _Source = None,
    as_json: _AsJson = False,
) -> None:
    """Give a ticket back to the model: its newest result decides again."""
    settings = connected(load_settings())
    engine = make_engine(settings)
    source = _source_of(engine, item_id, source)
    moved = tickets.release(engine, source, item_id, settings, by=by or getpass.getuser(), why=why)
    _report(moved, as_json, f"stays with {moved.team}, as the model decided")


@app.command("list")
def list_(
    *,
    team: Annotated[str | None, typer.Option("--team", help="Those of this team.")] = None,
    status: Annotated[AssignmentStatus | None, typer.Option("--status", help="Those with this status.")] = None,
    source: Annotated[str | None, typer.Option("--source", help="Those of this source.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")] = 100,
    as_json: _AsJson = False,
) -> None:
    """List tickets, those first that changed hands last. With --json: one object a line."""
    engine = make_engine(connected(load_settings()))
    found = ticket_views.list_(engine, team=team, status=status, source=source, limit=limit)
    if as_json:
        for line in found:
            typer.echo(row_json(asdict(line)))
        return
    if not found:
        typer.echo("no tickets")
        return
    table = Table("ticket", "team", "status", "score", "since", "text")
    for line in found:
        cells = f"{line.source}/{line.item_id}", line.team, line.status, line.score, line.changed_at, _short(line.text)
        table.add_row(*(cell(_cell(part)) for part in cells))
    Console().print(table)


def _source_of(engine: Engine, item_id: str, source: str | None) -> str:
    if source is not None:
        return source
    sources = ticket_views.sources_of(engine, item_id)
    if not sources:
        raise PermanentError(f"there is no ticket {item_id!r}")
    if len(sources) > 1:
        raise PermanentError(
            f"several sources have a ticket {item_id!r}; add --source with one of {', '.join(sources)}"
        )
    return sources[0]


def _report(moved: Moved, as_json: bool, unmoved: str) -> None:
    if as_json:
        typer.echo(json.dumps(asdict(moved), ensure_ascii=False))
        return
    said = unmoved if moved.from_team == moved.team else f"{moved.from_team or 'no team'} → {moved.team}"
    typer.echo(f"{moved.source}/{moved.item_id}: {said}")


def _print(view: TicketView) -> None:
    console = Console()
    console.print(f"{view.item['source']}/{view.item['item_id']}  {view.item['state']}", markup=False)
    console.print(view.item["text"] or "(no text)", markup=False)
    assigned = view.assignment
    if assigned is None:
        console.print("team: none yet")
    else:
        score = "" if assigned["score"] is None else f", score {assigned['score']:.4f}"
        since = f"since {_cell(assigned['changed_at'])}"
        console.print(f"team: {assigned['team']} ({assigned['status']}{score}) {since}", markup=False)
    if view.routing:
        _print_routing(console, view.routing)
    _print_table("history", view.history, ("at", "who", "from_team", "to_team", "why"))
    _print_table("told", view.deliveries, ("created_at", "team", "receiver", "state", "attempts", "last_error"))


def _print_routing(console: Console, routing: Mapping[str, Any]) -> None:
    scores = sorted(routing["scores"].items(), key=lambda each: -each[1])[:_TOP_SCORES]
    said = ", ".join(f"{label} {score:.4f}" for label, score in scores)
    by = f"{routing['model']} {routing['model_version']}, {routing['stage']}"
    if routing["route_set_version"] is not None:
        by += f", route set {routing['route_set']} version {routing['route_set_version']}"
    console.print(f"scores: {said}  ({by})", markup=False)


def _print_table(title: str, rows: list[Mapping[str, Any]], columns: tuple[str, ...]) -> None:
    if not rows:
        return
    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*(cell(_cell(row[column])) for column in columns))
    Console().print(table)


def _short(text: str | None) -> str:
    text = " ".join((text or "").split())
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case float():
            return f"{value:.2f}"
        case datetime():
            return f"{value:%F %T}Z"
        case _:
            return str(value)
