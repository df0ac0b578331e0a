"""`fenliu keys`: who may call the REST API."""

from __future__ import annotations

import getpass
import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from schemas.database import make_engine
from schemas.settings import load_settings
from schemas.stack import connected
from worker.cli.cells import cell
from worker.desk import keys
from worker.desk.keys import ApiKey, Scope

app = typer.Typer(help="API keys of the REST API. It is open until the first key is made.", no_args_is_help=True)

_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_MAX_DAYS = 36_500


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose key it is, such as the calling system.")],
    *,
    scopes: Annotated[
        list[Scope] | None, typer.Option("--scope", help="What it may do; may be given several times.")
    ] = None,
    expires: Annotated[str | None, typer.Option(help="Ends after 12h or 90d, or at a time. Default: never.")] = None,
    rate: Annotated[
        int | None, typer.Option(min=0, help="Requests a minute; 0: no limit. Default: FENLIU_HTTP_RATE_PER_MINUTE.")
    ] = None,
    by: Annotated[str | None, typer.Option(help="Who makes it. Default: the user's name.")] = None,
    as_json: _AsJson = False,
) -> None:
    """Make a key and print it, once: only its hash is kept.

    Without --scope it may predict, and neither write nor read items. The API
    is open while no key exists; from the first key on, a key is needed.
    """
    if not name.strip():
        raise typer.BadParameter("is empty; say whose key it is", param_hint="NAME")
    key, secret = keys.create(
        make_engine(connected(load_settings())), name, scopes or [Scope.PREDICT],
        expires_at=_end(expires), rate_per_minute=rate, by=by or getpass.getuser(),
    )  # fmt: skip
    if as_json:
        typer.echo(json.dumps(_as_json(key) | {"key": secret}, ensure_ascii=False))
        return
    typer.echo(secret)
    typer.echo(f"key {key.id} of {key.name} may: {', '.join(sorted(key.scopes))}", err=True)
    typer.echo("it cannot be shown again", err=True)


@app.command("list")
def list_(
    *,
    everything: Annotated[bool, typer.Option("--all", help="Also those that are revoked or expired.")] = False,
    as_json: _AsJson = False,
) -> None:
    """List keys. With --json: one object a line."""
    found = keys.find(make_engine(connected(load_settings())), with_ended=everything)
    if as_json:
        for key in found:
            typer.echo(json.dumps(_as_json(key), ensure_ascii=False))
        return
    if not found:
        typer.echo("no keys")
        return
    table = Table("id", "key", "name", "may", "state", "expires", "last used")
    now = datetime.now(UTC)
    for key in found:
        may = " ".join(sorted(key.scopes))
        cells = (
            f"{key.id}",
            f"{key.prefix}…",
            key.name,
            may,
            key.state(now),
            _day(key.expires_at),
            _day(key.last_used_at),
        )
        table.add_row(*map(cell, cells))
    Console().print(table)


@app.command()
def revoke(
    which: Annotated[str, typer.Argument(metavar="ID|KEY", help="Its id, or how it begins: flk_ and 8 characters.")],
    as_json: _AsJson = False,
) -> None:
    """End a key for good. Gateways refuse it within 5 seconds."""
    key = keys.revoke(make_engine(connected(load_settings())), which)
    typer.echo(json.dumps(_as_json(key), ensure_ascii=False) if as_json else f"revoked key {key.id} of {key.name}")


def _end(value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        if value[-1:] in _UNITS and value[:-1].isdecimal():
            span = timedelta(**{_UNITS[value[-1]]: int(value[:-1])})
            end = datetime.now(UTC) + min(span, timedelta(days=_MAX_DAYS))
        else:
            moment = datetime.fromisoformat(value)
            end = moment if moment.tzinfo else moment.astimezone()
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"{value!r} is no time; use 12h, 90d or 2027-01-31T08:00+08:00", param_hint="--expires"
        ) from None
    if end <= datetime.now(UTC):
        raise typer.BadParameter(f"{value} has passed", param_hint="--expires")
    return end


def _day(moment: datetime | None) -> str:
    return f"{moment:%F %H:%M}Z" if moment else ""


def _as_json(key: ApiKey) -> dict[str, Any]:
    values = asdict(key) | {"scopes": sorted(key.scopes), "state": key.state(datetime.now(UTC))}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}
