"""`fenliu users`: who may log in to the web pages."""

from __future__ import annotations

import getpass
import json
import sys
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine

from schemas.database import make_engine
from schemas.names import Role
from schemas.settings import load_settings
from schemas.stack import connected
from worker.cli.cells import cell
from worker.desk import passwords, users
from worker.desk.users import User

app = typer.Typer(
    help="Who may log in to the web pages. Until the first user is made, they are open to this machine alone.",
    no_args_is_help=True,
)

_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Name = Annotated[str, typer.Argument(help="The user's name; upper and lower case are the same.")]
_FromStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]
_MOST_BYTES = passwords.MOST_CHARS * 4 + 2


@app.command()
def create(
    name: _Name,
    *,
    role: Annotated[Role, typer.Option(help="What he may do; the first user must be an admin.")] = Role.VIEWER,
    password_stdin: _FromStdin = False,
    as_json: _AsJson = False,
) -> None:
    """Make a user. From the first one on, whoever opens a page must log in.

    A viewer looks, a reviewer also decides on items and dead letters, an admin
    also keeps the users. The password has 10 to 256 characters.
    """
    name = users.checked_name(name)
    _say(users.create(_engine(), name, _password(name, password_stdin), role), as_json, "made {}")


@app.command("list")
def list_(*, as_json: _AsJson = False) -> None:
    """List users. With --json: one object a line."""
    found = users.find(_engine())
    if as_json:
        for user in found:
            typer.echo(_json(user))
        return
    if not found:
        typer.echo("no users: the pages are open to this machine alone; `fenliu users create` makes the first")
        return
    table = Table("name", "role", "may log in", "made", "last login")
    for user in found:
        cells = (
            user.name,
            user.role.value,
            "yes" if user.enabled else "no",
            _day(user.created_at),
            _day(user.last_login_at),
        )
        table.add_row(*map(cell, cells))
    Console().print(table)


@app.command()
def role(
    name: _Name, role: Annotated[Role, typer.Argument(help="What he may do from now on.")], as_json: _AsJson = False
) -> None:
    """Give a user another role. It counts from his next request on."""
    _say(users.set_role(_engine(), name, role), as_json, "{} has this role now")


@app.command()
def password(name: _Name, *, password_stdin: _FromStdin = False, as_json: _AsJson = False) -> None:
    """Give a user another password. Wherever he was logged in, he must log in again."""
    _say(
        users.set_password(_engine(), name, _password(name, password_stdin)), as_json, "{} has another password",
    )  # fmt: skip


@app.command()
def disable(name: _Name, as_json: _AsJson = False) -> None:
    """Let a user log in no more, and log him out everywhere."""
    _say(users.set_enabled(_engine(), name, enabled=False), as_json, "{} can no longer log in")


@app.command()
def enable(name: _Name, as_json: _AsJson = False) -> None:
    """Let a user log in again."""
    _say(users.set_enabled(_engine(), name, enabled=True), as_json, "{} can log in")


@app.command()
def delete(name: _Name, as_json: _AsJson = False) -> None:
    """Delete a user. Reviews and corrections stay, under the name."""
    _say(users.remove(_engine(), name), as_json, "deleted {}")


def _engine() -> Engine:
    return make_engine(connected(load_settings()))


def _password(name: str, from_stdin: bool) -> str:
    """The password, asked for twice on a terminal. Raises UserError when it may not be used."""
    if from_stdin:
        given = sys.stdin.buffer.read(_MOST_BYTES + 1)
        found = given.decode("utf-8", "surrogateescape").removesuffix("\n").removesuffix("\r")
        users.check_password(found, name)
        return found
    if not sys.stdin.isatty():
        raise typer.BadParameter("is needed where there is no terminal to ask on", param_hint="--password-stdin")
    found = getpass.getpass(f"Password of {name}: ")
    users.check_password(found, name)
    if getpass.getpass("The same again: ") != found:
        raise typer.BadParameter("were not the same", param_hint="the two passwords")
    return found


def _say(user: User, as_json: bool, text: str) -> None:
    typer.echo(_json(user) if as_json else text.format(f"{user.role.value} {user.name}"))


def _day(moment: datetime | None) -> str:
    return f"{moment:%F %H:%M}Z" if moment else ""


def _json(user: User) -> str:
    values: dict[str, Any] = asdict(user)
    shown = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}
    return json.dumps(shown, ensure_ascii=False)
