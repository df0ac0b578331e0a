"""The front door: one command line that loads each package's commands only when they are asked for.

The map below is all it knows: a name, where the command lives, and its line of help, so that `fenliu --help`
imports none of them.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from schemas.errors import FenliuError
from schemas.printable import printable

_OURS = ("schemas", "producers", "worker", "training", "dashboard")


@dataclass(frozen=True, slots=True)
class _Command:
    """Where a command lives (`module:attribute`, a Typer app or a function), its help, the extra it needs.

    `more`: functions of other packages that join an app as its commands, by name. `made_of`: what `where` makes the
    command of, where a package must not know the other.
    """

    where: str
    help: str
    extra: str = ""
    passes_options: bool = False
    more: tuple[tuple[str, str], ...] = ()
    made_of: tuple[str, ...] = ()


_COMMANDS = {
    "up": _Command("worker.cli.stack:up", "Start the stack: embedded servers and a worker.", "worker,embedded"),
    "down": _Command("worker.cli.stack:down", "Stop the stack of this home.", "worker,embedded"),
    "env": _Command("worker.cli.stack:env", "Print the running stack's URLs as shell variables."),
    "status": _Command("worker.cli.stack:status", "Show inboxes, workers, dead letters and speed.", "worker"),
    "demo": _Command("worker.cli.demo:demo", "Classify the shipped sample and report on it.", "worker,embedded"),
    "settings": _Command("worker.cli.settings:settings", "List every setting, its value and its meaning."),
    "worker": _Command("worker.cli.worker:worker", "Run a Celery worker.", "worker", passes_options=True),
    "migrate": _Command("worker.cli.migrate:migrate", "Bring the database to the newest schema.", "worker"),
    "enqueue": _Command("producers.cli:enqueue", "Put items of a file or a pipe into an inbox."),
    "backfill": _Command("producers.backfill.cli:app", "Pour old rows into the bulk inbox.", "worker,parquet"),
    "predict": _Command("worker.cli.predict:predict", "Classify texts here and now, with no queue.", "worker"),
    "items": _Command("worker.cli.items:app", "Look at items, or delete them.", "worker"),
    "routes": _Command("worker.cli.routes:app", "Apply, show and test route sets.", "worker"),
    "tickets": _Command("worker.cli.tickets:app", "Show tickets, and give them to another team.", "worker"),
    "webhooks": _Command("worker.cli.webhooks:app", "Who is called when a ticket gets its team.", "worker"),
    "deliveries": _Command("worker.cli.deliveries:app", "List and replay what teams were told.", "worker"),
    "serve": _Command(
        "producers.gateway.cli:serve_with",
        "Serve the web pages and the REST API.",
        "serve",
        made_of=("dashboard.app:create_pages",),
    ),
    "users": _Command("worker.cli.users:app", "Who may log in to the web pages.", "worker"),
    "reviews": _Command("worker.cli.reviews:app", "Export what reviewers said, to train on.", "worker"),
    "quality": _Command("worker.cli.quality:app", "Measure whether the results are still right.", "worker"),
    "keys": _Command("worker.cli.keys:app", "Create, list and revoke API keys.", "worker"),
    "beat": _Command("worker.cli.beat:beat", "Run the clock that starts what is scheduled.", "worker"),
    "prune": _Command("worker.cli.prune:prune", "Delete what is older than a number of days.", "worker"),
    "dead-letters": _Command("worker.cli.dead_letters:app", "List, replay or drop what failed.", "worker"),
    "models": _Command(
        "worker.cli.models:app",
        "List, show and import models.",
        "worker",
        more=(("import", "training.importing.cli:import_"),),
    ),
    "train": _Command("training.cli:app", "Make models.", "worker,training"),
}


def _named(where: str) -> Any:
    module, _, attribute = where.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _load(name: str) -> Any:
    """The command as Typer runs it."""
    command = _COMMANDS[name]
    found = _named(command.where)
    if command.made_of:
        found = found(*map(_named, command.made_of))
    for more, where in command.more:
        found.command(more)(_named(where))
    if not isinstance(found, typer.Typer):
        function, found = found, typer.Typer()
        options = {"allow_extra_args": True, "ignore_unknown_options": True} if command.passes_options else None
        found.command(context_settings=options)(function)
    loaded = typer.main.get_command(found)
    loaded.name = name
    return loaded


class _LazyGroup(TyperGroup):
    """Lists every command from the map, and loads the one that is run."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return name, _load(name) if name else command, rest


def _front_door() -> TyperGroup:
    return _LazyGroup(
        name="fenliu",
        help="Comments and tickets flow in through Redis, are classified, and land in Postgres as labels and scores.",
        commands=[TyperCommand(name, help=command.help) for name, command in _COMMANDS.items()],
        no_args_is_help=True,
    )


def _missing_extra(error: ModuleNotFoundError) -> str | None:
    """What to install for a command whose packages are not there; None if the fault is ours."""
    command = next((_COMMANDS[word] for word in sys.argv[1:] if word in _COMMANDS), None)
    package = (error.name or "").partition(".")[0]
    if command is None or not command.extra or package in _OURS:
        return None
    return f"this needs the package {package}: pip install 'fenliu[{command.extra}]'"


def main() -> None:
    """Run `fenliu …`. Exit codes: 0 done, 1 failed, 2 misused, 130 interrupted."""
    try:
        _front_door().main(prog_name="fenliu")
    except FenliuError as error:
        _fail(str(error))
    except PermissionError as error:
        _fail(f"{error.filename or 'this'}: {error.strerror}; does it belong to another user?")
    except ModuleNotFoundError as error:
        hint = _missing_extra(error)
        if hint is None:
            raise
        _fail(hint)


def _fail(message: str) -> None:
    sys.stdout.flush()
    print(f"error: {printable(message, keep=chr(10))}", file=sys.stderr)  # noqa: T201 - the one place that reports errors
    sys.exit(1)


if __name__ == "__main__":
    main()
