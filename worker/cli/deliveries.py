"""`fenliu deliveries`: what teams were told, what waits, what failed; and telling it again."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine

from schemas.database import make_engine, translated
from schemas.errors import PermanentError
from schemas.names import DeliveryState
from schemas.settings import load_settings
from schemas.stack import connected
from worker.cli.cells import cell
from worker.desk import deliveries
from worker.desk.deliveries import Delivery, Filter

app = typer.Typer(help="What teams were told, on their streams and by webhooks.", no_args_is_help=True)

_Webhook = Annotated[int | None, typer.Option("--webhook", help="Those to this webhook.")]
_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_(
    *,
    state: Annotated[DeliveryState | None, typer.Option(help="Those in this state.")] = None,
    team: Annotated[str | None, typer.Option(help="Those that tell this team.")] = None,
    webhook: _Webhook = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many, newest first.")] = 100,
    as_json: _AsJson = False,
) -> None:
    """List deliveries, newest first. With --json: one object a line."""
    engine = _engine()
    found = deliveries.find(engine, Filter(state=state, team=team, webhook_id=webhook), limit=limit)
    if as_json:
        for delivery in found:
            typer.echo(json.dumps(_as_json(delivery), ensure_ascii=False))
        return
    if found:
        table = Table("id", "when", "item", "team", "to", "state", "attempts", "last answer")
        for delivery in found:
            table.add_row(*map(cell, _cells(delivery)))
        Console().print(table)
    with translated(), engine.connect() as connection:
        behind = deliveries.backlog(connection)
    age = f", the oldest for {behind.oldest_age_s:.0f} s" if behind.waiting else ""
    typer.echo(f"{behind.waiting} announcements under way{age}; {behind.failed} deliveries failed")


@app.command()
def replay(
    ids: Annotated[list[int] | None, typer.Argument(metavar="[ID]...", help="These deliveries.")] = None,
    *,
    failed: Annotated[bool, typer.Option("--failed", help="All that failed.")] = False,
    webhook: _Webhook = None,
    as_json: _AsJson = False,
) -> None:
    """Deliver again, with all attempts anew. Each receiver gets those of an item in order.

    Deliveries to a disabled webhook stay as they are.
    """
    if bool(ids) == failed:
        raise typer.BadParameter("say which: the deliveries' ids, or else --failed")
    which = Filter(ids or (), DeliveryState.FAILED if failed else None, None, webhook)
    replayed = deliveries.replay(_engine(), which)
    if ids and not replayed:
        raise PermanentError(
            "none of these can be replayed: they wait already, go to a disabled webhook, or do not exist; "
            "see `fenliu deliveries list`"
        )
    typer.echo(json.dumps({"replayed": replayed}) if as_json else f"{replayed} will be delivered again")


def _engine() -> Engine:
    return make_engine(connected(load_settings()))


def _cells(delivery: Delivery) -> tuple[str, ...]:
    receiver = "stream" if delivery.webhook_id is None else f"webhook {delivery.webhook_id}"
    return (
        str(delivery.id), f"{delivery.created_at:%F %T}Z", f"{delivery.source}/{delivery.item_id}", delivery.team,
        receiver, delivery.state.value, str(delivery.attempts), delivery.last_error or str(delivery.status_code or ""),
    )  # fmt: skip


def _as_json(delivery: Delivery) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(delivery).items()
    }
