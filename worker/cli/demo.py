"""`fenliu demo`: the shipped sample through a stack of its own, with a progress bar and a report."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from schemas.errors import SetupError
from schemas.settings import Settings, load_settings

if TYPE_CHECKING:
    from worker.demo import Report

_SAY_EVERY_S = 2.0
_EXAMPLE_SQL = "SELECT item_id, text, label, round(score::numeric, 2) AS score, team FROM dash_current LIMIT 20"


def demo() -> None:
    """Classify the shipped sample of comments and tickets and report on it.

    Starts a Redis, a PostgreSQL and a worker of its own, sends the sample through the inbox, waits until every
    item has its row, shows what came out, and stops everything it started. The data is kept until the next demo.
    """
    from worker.demo import demo_home, demo_stack, fill, read_sample, report

    console = Console(width=None if sys.stdout.isatty() else 100)
    sample = read_sample()
    parent = load_settings().home.expanduser().absolute()
    with _ended_by_sigterm(), demo_home(parent) as home:
        _say(console, f"starting Redis, PostgreSQL and a worker in {_short(home)}")
        with demo_stack(home) as settings:
            _say(console, f"enqueueing {sample.comments:,} comments and {sample.tickets:,} tickets")
            fill(home)
            _show_progress(console, settings, sample.items)
            found = report(settings)
        _say(console, "stopped everything it started")
    _show_report(console, found)
    _show_where(console, home)
    if found.failed or found.items < sample.items:
        raise SetupError(f"{sample.items - found.items} of {sample.items} items were not classified")


def _show_progress(console: Console, settings: Settings, items: int) -> None:
    from worker.demo import watch

    if not sys.stdout.isatty():
        said_s = time.monotonic()
        for done in watch(settings, items):
            if time.monotonic() - said_s >= _SAY_EVERY_S or done == items:
                said_s = time.monotonic()
                _say(console, f"{done} of {items} items have their row")
        return
    columns = TextColumn("classifying"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=items)
        for done in watch(settings, items):
            progress.update(task, completed=done)


def _show_report(console: Console, found: Report) -> None:
    _say(console, "")
    _say(
        console,
        f"{found.items:,} items, {found.items_per_s:,.0f} a second from the inbox to a committed row, "
        f"model {found.model}",
    )
    _show_table(
        console,
        "Sentiment:",
        ["kind", "sentiment", "items", "share"],
        [[row["kind"], row["label"], f"{row['items']:,}", f"{row['share']:.1%}"] for row in found.sentiment],
    )
    _show_table(
        console,
        f"Comments against their known labels: {found.accuracy:.1%} right",
        ["known label", "comments", "right", "recall", "precision"],
        [
            [
                row["label"],
                f"{row['known']:,}",
                f"{row['right']:,}",
                _share(row["right"], row["known"]),
                _share(row["right"], row["given"]),
            ]
            for row in found.classes
        ],
    )
    _show_table(
        console,
        f"Tickets by team: the model's best team is right for {_share(found.tickets_right, found.tickets)} of "
        f"{found.tickets}; {found.triaged} were not sure enough and went to triage",
        ["team", "tickets", "best team is right", "assigned", "rightly"],
        [
            [row["team"], str(row["known"]), str(row["best"]), str(row["given"]), str(row["right"])]
            if row["known"]
            else [row["team"], "", "", str(row["given"]), ""]
            for row in found.teams
        ],
    )
    _show_table(
        console,
        "Three rows:",
        ["item", "text", "label", "score", "team"],
        [
            [row["item_id"], row["text"], row["label"], f"{row['score']:.2f}", row["team"] or ""]
            for row in found.examples
        ],
    )
    for row in found.failed:
        _say(console, f"{row['items']} failed: {row['code']} {row['field']}: {row['message']}")


def _show_table(console: Console, title: str, columns: list[str], rows: list[list[str]]) -> None:
    numbers = {column for number, column in enumerate(columns) if all(row[number][:1].isdigit() for row in rows[:1])}
    table = Table()
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    _say(console, "")
    _say(console, title)
    console.print(table)


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _show_where(console: Console, home: Path) -> None:
    fenliu = shlex.quote(_short(Path(sys.executable).with_name("fenliu")))
    lines = [
        f"The data is kept in {_short(home)} until the next demo. To look further with SQL:",
        f"  export FENLIU_HOME={shlex.quote(str(home))}",
        f'  {fenliu} up --detach && eval "$({fenliu} env)"',
        f'  {shlex.quote(_psql())} "$FENLIU_DATABASE_URL" -c "{_EXAMPLE_SQL}"',
        f"  {fenliu} down",
    ]
    for line in ["", *lines]:
        _say(console, line)


def _psql() -> str:
    """psql on PATH, else the one that came with the embedded PostgreSQL."""
    from worker.servers import postgres_binaries

    binaries = postgres_binaries()
    return "psql" if binaries is None or shutil.which("psql") else _short(binaries / "psql")


def _short(path: Path) -> str:
    """Relative to where the user stands, if that is shorter."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(str(path)) else str(path)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else ""


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM unwinds like Ctrl-C, so that everything is stopped."""

    def end(_number: int, _frame: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
