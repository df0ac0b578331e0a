"""`fenliu reviews`: what reviewers found right, as a file to train on."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated, TextIO

import typer

from schemas.database import make_engine
from schemas.errors import PermanentError
from schemas.names import ReviewOrigin, Task
from schemas.settings import load_settings
from schemas.stack import connected
from worker.cli.row_json import row_json
from worker.cli.since import since_time
from worker.desk import review_history
from worker.desk.review_history import ReviewedText

app = typer.Typer(help="What reviewers found right.", no_args_is_help=True)

_COLUMNS = [column.name for column in fields(ReviewedText)]


@app.callback()
def _reviews() -> None:
    """Keep `export` a command of its own."""


@app.command()
def export(
    file: Annotated[Path, typer.Argument(metavar="[FILE|-]", help="Where to write it. -: standard output.")] = Path(
        "-"
    ),
    *,
    task: Annotated[Task, typer.Option("--task", help="What was reviewed.")],
    since: Annotated[str | None, typer.Option(help="Decisions of the last 12h or 7d, or since then.")] = None,
    origin: Annotated[ReviewOrigin | None, typer.Option("--origin", help="Items shown for this reason.")] = None,
    source: Annotated[str | None, typer.Option("--source", help="Items of this source.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line instead of CSV.")] = False,
) -> None:
    """Write the reviewed texts with their right labels, as `fenliu train finetune` reads them.

    The newest decision of each item, near-copies once. Items whose text has
    changed since are left out.
    """
    found = review_history.reviewed_texts(
        make_engine(connected(load_settings())), task, since=since_time(since), origin=origin, source=source
    )
    to_stdout = str(file) == "-"
    try:
        with nullcontext(sys.stdout) if to_stdout else file.open("w", encoding="utf-8", newline="") as out:
            written = _write(out, found, as_json)
    except OSError as error:
        raise PermanentError(f"{file}: {error.strerror or error}") from error
    typer.echo(f"{written} reviewed texts" + ("" if to_stdout else f" in {file}"), err=True)


def _write(out: TextIO, found: Iterable[ReviewedText], as_json: bool) -> int:
    written = 0
    rows = csv.DictWriter(out, _COLUMNS, lineterminator="\n")
    if not as_json:
        rows.writeheader()
    for each in found:
        line = json.loads(row_json(asdict(each)))
        if as_json:
            out.write(json.dumps(line, ensure_ascii=False) + "\n")
        else:
            rows.writerow(line)
        written += 1
    return written
