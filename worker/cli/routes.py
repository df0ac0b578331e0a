"""`fenliu routes`: apply a routes file, show what is applied. Testing one is `worker.cli.route_trial`'s."""

from __future__ import annotations

import getpass
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine

from schemas.database import make_engine
from schemas.errors import PermanentError
from schemas.names import DEFAULT_ROUTE_SET
from schemas.routes import read_routes_file
from schemas.settings import load_settings
from schemas.stack import connected
from worker import routes
from worker.cli import route_trial
from worker.cli.cells import cell
from worker.routes import Applied, Change, ChangeKind, StoredVersion

app = typer.Typer(help="Route sets: the teams that tickets are routed among.", no_args_is_help=True)
app.command("test")(route_trial.test)

_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_MARKS = {ChangeKind.ADDED: "+", ChangeKind.REMOVED: "-", ChangeKind.CHANGED: "~"}


@app.command()
def apply(
    file: Annotated[Path, typer.Argument(help="YAML or JSON: teams with description, examples, threshold; rules.")],
    by: Annotated[str | None, typer.Option(help="Who applies it. Default: the user's name.")] = None,
    as_json: _AsJson = False,
) -> None:
    """Make the teams and rules of a file the current version of their route set.

    Workers follow within seconds. Nothing is changed if the current version is
    the same already.
    """
    route_set = read_routes_file(file)
    applied = routes.apply(_engine(), route_set, by or getpass.getuser())
    if as_json:
        typer.echo(json.dumps(asdict(applied), ensure_ascii=False))
        return
    _print_applied(applied, len(route_set.labels.labels))


@app.command()
def show(
    name: Annotated[str | None, typer.Argument(metavar="[SET]", help="Default: all sets, or the only one.")] = None,
    version: Annotated[int | None, typer.Option(help="Default: the current one.")] = None,
    as_json: _AsJson = False,
) -> None:
    """Show the teams and rules of a route set, or the list of sets where there are several."""
    engine = _engine()
    if name is None and version is None:
        summaries = routes.list_sets(engine)
        if len(summaries) != 1:
            _print_sets(summaries, as_json)
            return
        name = summaries[0].name
    stored = routes.read(engine, name or DEFAULT_ROUTE_SET, version)
    if stored is None:
        which = f"version {version} of route set" if version is not None else "route set"
        raise PermanentError(f"there is no {which} {name or DEFAULT_ROUTE_SET!r}; see `fenliu routes show`")
    if as_json:
        typer.echo(json.dumps(_as_json(stored), ensure_ascii=False))
        return
    _print_version(stored)


def _engine() -> Engine:
    return make_engine(connected(load_settings()))


def _print_applied(applied: Applied, teams: int) -> None:
    if not applied.changes:
        typer.echo(f"route set {applied.name}: version {applied.version} is the same already, nothing changed")
        return
    typer.echo(f"route set {applied.name}: version {applied.version} is current, {teams} teams")
    for change in applied.changes:
        for line in _described(change):
            typer.echo(f"  {line}")


def _described(change: Change) -> list[str]:
    if change.kind is ChangeKind.REORDERED:
        return ["~ the order of the teams"]
    if change.kind is ChangeKind.RULES:
        return _rule_changes(*change.fields["rules"])
    fields = "; ".join(_field_change(name, before, after) for name, (before, after) in change.fields.items())
    return [f"{_MARKS[change.kind]} {change.team}" + (f": {fields}" if fields else "")]


def _rule_changes(before: tuple[dict[str, str], ...], after: tuple[dict[str, str], ...]) -> list[str]:
    added = [f"+ rule {_rule(each)}" for each in after if each not in before]
    removed = [f"- rule {_rule(each)}" for each in before if each not in after]
    return added + removed or ["~ the order of the rules"]


def _rule(rule: dict[str, str]) -> str:
    return f"{' '.join(rule['when'].split())} → {rule['team']}"


def _field_change(name: str, before: Any, after: Any) -> str:
    if name == "examples":
        return f"examples {len(before)} → {len(after)}, {len(set(after) - set(before))} of them new"
    return f"{name} {before if before not in {None, ''} else 'none'} → {after if after not in {None, ''} else 'none'}"


def _print_sets(summaries: list[routes.RouteSetSummary], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([asdict(each) | {"created_at": each.created_at.isoformat()} for each in summaries]))
        return
    if not summaries:
        typer.echo("no route set yet; make one with `fenliu routes apply FILE`")
        return
    table = Table("route set", "version", "teams", "applied", "by")
    for each in summaries:
        made = f"{each.created_at:%F %R}Z"
        table.add_row(*map(cell, (each.name, str(each.version), str(each.teams), made, each.created_by)))
    Console().print(table)


def _as_json(stored: StoredVersion) -> dict[str, Any]:
    """What a routes file could hold, and where it comes from."""
    return {
        "route_set": stored.route_set.name,
        "version": stored.version,
        "current": stored.current,
        "created_at": stored.created_at.isoformat(),
        "created_by": stored.created_by,
        "rules": [rule.as_written() for rule in stored.route_set.rules],
        "teams": {
            label.name: {
                "description": label.description,
                "examples": list(label.examples),
                "threshold": label.threshold,
                "enabled": label.name not in stored.route_set.disabled,
                "by_model": label.name not in stored.route_set.unscored,
            }
            for label in stored.route_set.labels.labels
        },
    }


def _print_version(stored: StoredVersion) -> None:
    state = "current" if stored.current else "not current"
    typer.echo(
        f"route set {stored.route_set.name}, version {stored.version} ({state}), "
        f"applied {stored.created_at:%F %R}Z by {stored.created_by or 'unknown'}"
    )
    if stored.route_set.rules:
        rules = Table("rule", "when", "team")
        for number, rule in enumerate(stored.route_set.rules, 1):
            rules.add_row(*map(cell, (str(number), " ".join(rule.when.split()), rule.team)))
        Console().print(rules)
    table = Table("team", "description", "examples", "threshold")
    for label in stored.route_set.labels.labels:
        off = " (disabled)" if label.name in stored.route_set.disabled else ""
        off += " (by rule)" if label.name in stored.route_set.unscored else ""
        threshold = "default" if label.threshold is None else f"{label.threshold:g}"
        table.add_row(*map(cell, (label.name + off, label.description, str(len(label.examples)), threshold)))
    Console().print(table)
