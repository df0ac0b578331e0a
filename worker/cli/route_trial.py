"""`fenliu routes test`: what a routes file would change on past tickets, before it is applied."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table

from schemas.database import make_engine
from schemas.routes import RouteSet, read_routes_file
from schemas.settings import Settings, cpu_quota, load_settings
from schemas.stack import connected
from worker.cli.cells import cell
from worker.cli.since import since_time
from worker.desk.past_tickets import PastTicket, Which, read_past
from worker.desk.route_trial import Trial, Tried, try_out

_SHOWN_CHARS = 40
_SHOWN_MOVES = 20


def test(
    file: Annotated[Path, typer.Argument(help="YAML or JSON: what `routes apply` would apply.")],
    *,
    last: Annotated[int, typer.Option(min=1, max=100_000, help="Look at so many of the newest tickets.")] = 500,
    since: Annotated[
        str | None, typer.Option(help="Only those written in the last 90s, 30m, 12h or 7d, or since a time.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Only those of this source.")] = None,
    model: Annotated[str | None, typer.Option(help="name or name/version. Default: the one in production.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what a routes file would change on past tickets.

    Past tickets of its route set are decided anew, here, by the rules and teams
    of the file, and compared with what is stored. Nothing is written, and no
    worker is asked. Tickets that a person gave to a team stay there.
    """
    route_set = read_routes_file(file)
    which = Which(last, since_time(since), source)
    settings = connected(load_settings())
    past = read_past(make_engine(settings), route_set.name, which, settings)
    if not past and not as_json:
        typer.echo(f"no past tickets of route set {route_set.name} to test on")
        return
    trial, model_id = _run(route_set, past, settings, model)
    if as_json:
        typer.echo(json.dumps(_as_json(route_set, trial, model_id, settings), ensure_ascii=False))
        return
    _print(file, route_set, past, trial, model_id)


def _run(route_set: RouteSet, past: list[PastTicket], settings: Settings, model: str | None) -> tuple[Trial, str]:
    from worker.inference.classifier import Classifier
    from worker.inference.folder import find, model_homes

    folder = find(model or settings.model, model_homes(settings.models_home))
    classifier = Classifier.load(
        folder, run_tokens=settings.run_tokens, threads=cpu_quota(), provider=settings.provider
    )
    with _display(len(past)) as show:
        return try_out(route_set, past, classifier, settings, show), classifier.manifest.id


@contextmanager
def _display(total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal, a plain line per batch elsewhere; both on standard error."""
    if not sys.stderr.isatty():
        yield lambda done: typer.echo(f"{done} of {total} tickets", err=True)
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda done: progress.update(task, completed=done)


def _as_json(route_set: RouteSet, trial: Trial, model: str, settings: Settings) -> dict[str, Any]:
    counts = ("tickets", "stay", "move", "into_triage", "out_of_triage", "overridden", "failed", "by_rule")
    return {
        "route_set": route_set.name,
        "model": model,
        "triage_threshold": settings.triage_threshold,
        "triage_margin": settings.triage_margin,
        **{name: getattr(trial, name) for name in counts},
        "moves": [{"from": old, "to": new, "tickets": count} for (old, new), count in trial.moves.items()],
        "teams": {team: {"before": before, "after": after} for team, (before, after) in trial.teams.items()},
        "people": {"tickets": trial.people.tickets, "before": trial.people.before, "after": trial.people.after},
        "stored_by_model": trial.made_by,
        "stored_by_version": {str(version): count for version, count in trial.versions.items()},
        "examples": [
            {
                "source": each.past.facts.source,
                "id": each.past.facts.id,
                "text": _short(each),
                "from": each.past.team,
                "from_score": each.past.score,
                "to": each.now.team,
                "to_score": each.now.score,
                "rule": each.rule.when if each.rule else None,
            }
            for each in trial.examples
        ],
    }


def _print(file: Path, route_set: RouteSet, past: list[PastTicket], trial: Trial, model: str) -> None:
    first, last = (f"{moment:%F}" for moment in (past[-1].written_at, past[0].written_at))
    typer.echo(f"{file} on {trial.tickets} tickets of route set {route_set.name}, {first} to {last}, with {model}")
    lines = {
        "stay": trial.stay,
        "move to another team": trial.move,
        "go to triage": trial.into_triage,
        "come out of triage": trial.out_of_triage,
        "stay where a person put them": trial.overridden,
        "could not be scored": trial.failed,
    }
    for what, count in lines.items():
        if count or what == "stay":
            typer.echo(f"{count:>8} {what}")
    if route_set.rules:
        typer.echo(f"decided by a rule: {trial.by_rule}")
    _print_people(trial)
    _print_made_by(trial, model)
    console = Console()
    teams = Table("team", "before", "after")
    for team, (before, after) in trial.teams.items():
        teams.add_row(cell(team), str(before), str(after))
    console.print(teams)
    if trial.moves:
        moves = Table("from", "to", "tickets")
        for (old, new), count in list(trial.moves.items())[:_SHOWN_MOVES]:
            moves.add_row(cell(old), cell(new), str(count))
        console.print(moves)
        examples = Table("ticket", "text", "from", "score", "to", "score")
        for each in trial.examples:
            ticket = f"{each.past.facts.source}/{each.past.facts.id}"
            by = "rule" if each.rule else f"{each.now.score:.2f}"
            cells = ticket, _short(each), each.past.team, f"{each.past.score:.2f}", each.now.team, by
            examples.add_row(*map(cell, cells))
        console.print(examples)


def _print_people(trial: Trial) -> None:
    people = trial.people
    if not people.tickets:
        typer.echo("no person has decided any of them, so nothing says which version is better")
        return
    before, after = (f"{count} ({count / people.tickets:.0%})" for count in (people.before, people.after))
    typer.echo(f"people decided {people.tickets} of them: as stored {before} agree, with this file {after}")


def _print_made_by(trial: Trial, model: str) -> None:
    others = {name: count for name, count in trial.made_by.items() if name != model}
    if others:
        said = ", ".join(f"{count} by {name}" for name, count in others.items())
        typer.echo(f"stored results are {said}, and not by {model}: some changes are the model's, not the file's")


def _short(each: Tried) -> str:
    text = " ".join(each.past.facts.text.split())
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"
