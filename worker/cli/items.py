"""`fenliu items`: one item with all that is known of it, or its erasure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from schemas.database import make_engine
from schemas.errors import PermanentError
from schemas.settings import load_settings
from schemas.stack import connected
from worker import inbox
from worker.cli.cells import cell
from worker.cli.row_json import row_json
from worker.desk import items
from worker.desk.items import ItemView

app = typer.Typer(help="Items, by their source and id.", no_args_is_help=True)

_Source = Annotated[str, typer.Argument(help="The producing system.")]
_ItemId = Annotated[str, typer.Argument(metavar="ID", help="The item's own id in its source.")]
_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def show(source: _Source, item_id: _ItemId, as_json: _AsJson = False) -> None:
    """Show an item, its results, its team with the history, and its dead letters."""
    view = items.show(make_engine(connected(load_settings())), source, item_id)
    if view is None:
        raise PermanentError(f"nothing is known of item {item_id!r} of source {source!r}")
    if as_json:
        typer.echo(row_json(asdict(view)))
        return
    _print(view)


@app.command()
def delete(source: _Source, item_id: _ItemId, as_json: _AsJson = False) -> None:
    """Erase an item everywhere.

    Its rows, history, reviews, announcements and dead letters, and entries
    still in an inbox. An entry that a worker is classifying at this very
    moment is waited for, up to half a minute. Not reached: backups, logs, and
    Redis' append-only file until it is rewritten (docs/retention.md).
    """
    settings = connected(load_settings())
    with inbox.connect(settings) as server:
        erased = items.erase(
            make_engine(settings), server, settings.keys, source, item_id,
            dead_after_s=settings.claim_idle_s,
            on_wait=lambda many: typer.echo(f"waiting for a worker that holds {many} of its entries", err=True),
        )  # fmt: skip
    if erased.nothing:
        raise PermanentError(f"nothing is known of item {item_id!r} of source {source!r}")
    if as_json:
        typer.echo(json.dumps(asdict(erased)))
        return
    parts = [f"{rows} {table}" for table, rows in erased.rows.items() if rows]
    if erased.entries:
        parts.append(f"{erased.entries} inbox entries")
    if erased.announcements:
        parts.append(f"{erased.announcements} entries of team streams")
    typer.echo(f"erased: {', '.join(parts)}")


def _print(view: ItemView) -> None:
    console = Console()
    if view.item:
        item = view.item
        console.print(f"{item['source']}/{item['item_id']}  {item['kind']}, {item['state']}", markup=False)
        console.print(item["text"] or "(no text)", markup=False)
        for name in ("created_at", "updated_at", "received_at"):
            console.print(f"  {name}: {item[name].isoformat()}", markup=False)
        if item["meta"]:
            console.print(f"  meta: {json.dumps(item['meta'], ensure_ascii=False)}", markup=False)
    if view.assignment:
        assigned = view.assignment
        score = "" if assigned["score"] is None else f", score {assigned['score']:.4f}"
        console.print(f"team: {assigned['team']} ({assigned['status']}{score})", markup=False)
    _print_table("results", view.predictions, ("task", "label", "score", "model", "model_version", "current"))
    _print_table("history", view.history, ("at", "who", "from_team", "to_team", "why"))
    _print_table("reviews", view.reviews, ("task", "state", "reviewer", "label"))
    _print_table("dead letters", view.dead_letters, ("id", "created_at", "code", "message"))


def _print_table(title: str, rows: list[Mapping[str, Any]], columns: tuple[str, ...]) -> None:
    if not rows:
        return
    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*(cell(_cell(row[column])) for column in columns))
    Console().print(table)


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4f}"
        case datetime():
            return value.isoformat(timespec="seconds")
        case _:
            return str(value)
