"""`fenliu webhooks`: who is called when a ticket gets its team."""

from __future__ import annotations

import getpass
import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine

from schemas.database import make_engine
from schemas.errors import PermanentError
from schemas.names import TRIAGE_TEAM, DeliveryState
from schemas.settings import Settings, load_settings
from schemas.stack import connected
from worker.cli.cells import cell
from worker.desk import webhooks
from worker.desk.webhooks import Webhook

app = typer.Typer(help="Who is called when a ticket gets its team.", no_args_is_help=True)

_Id = Annotated[int, typer.Argument(metavar="ID", help="The webhook's number in `fenliu webhooks list`.")]
_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def add(
    url: Annotated[str, typer.Argument(help="What to POST to: https:// or http://.")],
    team: Annotated[str | None, typer.Option(help="Tickets of this team. Default: of every team.")] = None,
    by: Annotated[str | None, typer.Option(help="Who adds it. Default: the user's name.")] = None,
    as_json: _AsJson = False,
) -> None:
    """Add a webhook, and print the secret that signs its calls. It is shown this once."""
    engine, settings = _place()
    added, secret = webhooks.add(engine, settings, url, team=team, by=by or getpass.getuser())
    if as_json:
        typer.echo(json.dumps({"id": added.id, "team": added.team, "secret": secret}, ensure_ascii=False))
        return
    typer.echo(f"webhook {added.id} for {team or 'every team'}")
    typer.echo(f"secret: {secret}")
    typer.echo("Keep the secret now, it is not shown again. Receivers check calls with schemas.signature.verify.")
    if team not in (None, TRIAGE_TEAM) and not webhooks.known_team(engine, str(team)):
        typer.echo(f"note: no route set has a team {team} yet", err=True)


@app.command("list")
def list_(as_json: _AsJson = False) -> None:
    """List webhooks. With --json: one object a line."""
    found = webhooks.find(_place()[0])
    if as_json:
        for webhook in found:
            typer.echo(json.dumps(_as_json(webhook), ensure_ascii=False))
        return
    if not found:
        typer.echo("no webhooks")
        return
    table = Table("id", "team", "url", "state", "added", "by")
    for webhook in found:
        state = "enabled" if webhook.enabled else "disabled"
        cells = str(webhook.id), webhook.team or "(every team)", webhook.url, state, f"{webhook.created_at:%F %T}Z"
        table.add_row(*map(cell, (*cells, webhook.created_by)))
    Console().print(table)


@app.command()
def enable(webhook_id: _Id, as_json: _AsJson = False) -> None:
    """Call it again, with what is announced from now on."""
    webhooks.enable(_place()[0], webhook_id)
    said = json.dumps({"id": webhook_id, "enabled": True})
    typer.echo(
        said
        if as_json
        else f"webhook {webhook_id} is enabled; see `fenliu deliveries replay --failed --webhook {webhook_id}`"
    )


@app.command()
def disable(webhook_id: _Id, as_json: _AsJson = False) -> None:
    """Call it no more. What waits for it is marked failed, and can be replayed later."""
    given_up = webhooks.disable(_place()[0], webhook_id)
    said = json.dumps({"id": webhook_id, "enabled": False, "given_up": given_up})
    typer.echo(said if as_json else f"webhook {webhook_id} is disabled; {given_up} deliveries were given up")


@app.command()
def remove(webhook_id: _Id, as_json: _AsJson = False) -> None:
    """Delete it, and what is known of its deliveries."""
    webhooks.remove(_place()[0], webhook_id)
    typer.echo(json.dumps({"removed": webhook_id}) if as_json else f"webhook {webhook_id} is removed")


@app.command()
def rotate(webhook_id: _Id, as_json: _AsJson = False) -> None:
    """Give it a new secret. It signs every call from now on, also of older deliveries."""
    secret = webhooks.rotate(_place()[0], webhook_id)
    typer.echo(json.dumps({"id": webhook_id, "secret": secret}) if as_json else f"secret: {secret}")


@app.command()
def test(webhook_id: _Id, as_json: _AsJson = False) -> None:
    """Call it once with a signed ping and say what it answered. Exits with 1 if that was no success."""
    engine, settings = _place()
    answer = webhooks.ping(engine, settings, webhook_id)
    fine = answer.state is DeliveryState.DELIVERED
    if as_json:
        typer.echo(json.dumps({"ok": fine, "status_code": answer.status_code, "error": answer.error}))
        raise typer.Exit(0 if fine else 1)
    if not fine:
        raise PermanentError(f"webhook {webhook_id}: {answer.error}")
    typer.echo(f"webhook {webhook_id} answered {answer.status_code}")


def _place() -> tuple[Engine, Settings]:
    settings = connected(load_settings())
    return make_engine(settings), settings


def _as_json(webhook: Webhook) -> dict[str, object]:
    return asdict(webhook) | {"created_at": webhook.created_at.isoformat()}
