"""`fenliu backfill`: start, resume, status, cancel, list; schedules are `producers.backfill.schedule_cli`'s."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from producers.backfill import cursor, ledger
from producers.backfill.cancel import cancel as cancel_backfill
from producers.backfill.ledger import Record
from producers.backfill.options import ITEMS, URL_VARIABLE, Options, absolute
from producers.backfill.queries import shown_url
from producers.backfill.running import clients, open_feed, run
from producers.backfill.schedule_cli import schedule_app
from producers.backfill.shown import as_table, lines_of, report_lines
from producers.backfill.stopping import StoppedError
from producers.sources import STDIN, Format
from schemas.errors import BackfillError, EntryError, InboxUnavailableError
from schemas.names import Kind
from schemas.settings import load_settings
from schemas.stack import connected

app = typer.Typer(no_args_is_help=True, help="Pour old rows into the bulk inbox, resumable anywhere.")

_NICE = 5

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_NoWait = Annotated[bool, typer.Option("--no-wait", help="Return when all is enqueued; `resume` makes the report.")]
_Url = Annotated[str | None, typer.Option(help=f"The database's URL, if it is in no variable ({URL_VARIABLE}).")]
_Id = Annotated[int, typer.Argument(metavar="ID", help="Number of the backfill.", min=1)]


def read_options(
    origin: str | None,
    *,
    query: str | None = None,
    key: str | None = None,
    url_env: str | None = None,
    id_column: str = "id",
    text_column: str = "text",
    meta_columns: str | None = None,
    created_at_column: str = "created_at",
    updated_at_column: str = "updated_at",
    source: str | None = None,
    kind: Kind | None = None,
    tasks: str | None = None,
    route_set: str | None = None,
    model: str | None = None,
    only_missing: bool = False,
    rate: float = 0.0,
    limit: int = 0,
    format: Format | None = None,
    encoding: str = "utf-8-sig",
) -> tuple[Options, str | None]:
    """Options as the command line gives them, and the URL in `origin` if there is one. Raises typer.BadParameter."""
    given, url = _origin(origin, query, url_env)
    try:
        io.TextIOWrapper(io.BytesIO(b"a"), encoding=encoding, errors="surrogateescape").read()
    except (LookupError, UnicodeError) as error:
        # An encoding may be cut short by one byte, and right all the same.
        if not isinstance(error, UnicodeDecodeError):
            raise typer.BadParameter(f"{encoding} is no encoding of text", param_hint="--encoding") from None
    meta = None if meta_columns is None else tuple(name.strip() for name in meta_columns.split(",") if name.strip())
    options = Options(
        origin=given,
        query=query or "",
        key=key or "",
        url_env=url_env or "",
        id_column=id_column,
        text_column=text_column,
        created_at_column=created_at_column,
        updated_at_column=updated_at_column,
        meta_columns=meta,
        source=source,
        kind=kind.value if kind else None,
        tasks=tasks,
        route_set=route_set,
        model=model,
        only_missing=only_missing,
        rate=rate,
        limit=limit,
        format=format.value if format else None,
        encoding=encoding,
    )
    try:
        options.check(load_settings().keys)
    except (EntryError, BackfillError) as error:
        raise typer.BadParameter(str(error)) from None
    return options, url


@app.command()
def start(
    origin: Annotated[
        str | None,
        typer.Argument(metavar="SOURCE", help="File (CSV, JSON lines, Parquet, lines; gzip too), -, URL, or items."),
    ] = None,
    *,
    query: Annotated[str | None, typer.Option(help="The SELECT whose rows are wanted, for a database.")] = None,
    key: Annotated[str | None, typer.Option(help="The query's unique column to order by and go on from.")] = None,
    url_env: Annotated[str | None, typer.Option(help="Variable that holds the database's URL.")] = None,
    id_column: Annotated[str, typer.Option(help="Column with each item's own id.")] = "id",
    text_column: Annotated[str, typer.Option(help="Column with the text.")] = "text",
    meta_columns: Annotated[
        str | None, typer.Option(help="Columns to keep as meta, with commas. Default: all that are no fields.")
    ] = None,
    created_at_column: Annotated[str, typer.Option(help="Column that says when it was written.")] = "created_at",
    updated_at_column: Annotated[str, typer.Option(help="Column that says when the text was true.")] = "updated_at",
    source: Annotated[str | None, typer.Option(help="Source of rows that name none. With items: only these.")] = None,
    kind: Annotated[Kind | None, typer.Option(help="Kind of rows that name none. With items: only these.")] = None,
    tasks: Annotated[str | None, typer.Option(help="sentiment, routing, or both with a comma.")] = None,
    route_set: Annotated[str | None, typer.Option(help="The set of teams to route among.")] = None,
    model: Annotated[str | None, typer.Option(help="Model to use: name or name/version.")] = None,
    only_missing: Annotated[
        bool, typer.Option("--only-missing", help="Pass over rows that have a result (of --model, if given).")
    ] = False,
    rate: Annotated[float, typer.Option(min=0, help="Rows a second. 0: as fast as the inbox takes them.")] = 0.0,
    limit: Annotated[int, typer.Option(min=0, help="Rows to read. 0: all.")] = 0,
    format: Annotated[Format | None, typer.Option(help="How the file is written. Default: by name or content.")] = None,
    encoding: Annotated[str, typer.Option(help="Encoding of a text file, such as gb18030.")] = "utf-8-sig",
    no_wait: _NoWait = False,
    as_json: _Json = False,
) -> None:
    """Start a backfill, and wait until workers have worked it off.

    Columns are named as the fields of an inbox entry, as for `fenliu enqueue`. It may be stopped or killed at any
    moment: `fenliu backfill resume ID` goes on where it was, with no row lost and none enqueued twice.
    """
    options, url = read_options(
        origin, query=query, key=key, url_env=url_env, id_column=id_column, text_column=text_column,
        meta_columns=meta_columns, created_at_column=created_at_column, updated_at_column=updated_at_column,
        source=source, kind=kind, tasks=tasks, route_set=route_set, model=model, only_missing=only_missing,
        rate=rate, limit=limit, format=format, encoding=encoding,
    )  # fmt: skip
    settings = connected(load_settings())
    with clients(settings) as (engine, client):
        feed = open_feed(options, engine, url)  # before there is a backfill that cannot be
        record = ledger.create(engine, options)
        typer.echo(f"backfill {record.id} of {options.origin}", err=True)
        with _stoppable(record.id):
            report = run(settings, engine, client, record, lambda: feed, wait=not no_wait)
        _print_end(ledger.get(engine, record.id), report, as_json)


@app.command()
def resume(
    backfill_id: _Id,
    *,
    url: _Url = None,
    force: Annotated[bool, typer.Option("--force", help="Go on although the file has changed.")] = False,
    no_wait: _NoWait = False,
    as_json: _Json = False,
) -> None:
    """Go on with a backfill that was stopped, killed or failed, or wait for one that was not waited for."""
    settings = connected(load_settings())
    with clients(settings) as (engine, client):
        record = ledger.get(engine, backfill_id)
        if record.state in ledger.FINAL:
            raise BackfillError(f"backfill {backfill_id} is {record.state}; start a new one")
        options = record.options
        with _stoppable(backfill_id):
            report = run(
                settings, engine, client, record, lambda: open_feed(options, engine, url), wait=not no_wait, force=force
            )
        _print_end(ledger.get(engine, backfill_id), report, as_json)


@app.command()
def status(backfill_id: _Id, as_json: _Json = False) -> None:
    """Show how far a backfill is, or its report."""
    settings = connected(load_settings())
    with clients(settings) as (engine, client):
        record = ledger.get(engine, backfill_id)
        try:
            newer = cursor.position(client, settings.keys, backfill_id)
        except InboxUnavailableError as error:
            newer = None
            typer.echo(f"as of {record.changed_at:%H:%M:%S}: {error}", err=True)
    shown = record if newer is None else record.at(newer)
    if as_json:
        _print_json(shown.as_json())
        return
    for line in lines_of(shown):
        typer.echo(line)


@app.command()
def cancel(backfill_id: _Id, as_json: _Json = False) -> None:
    """Stop a backfill for good, and take out of the bulk inbox what no worker has taken yet."""
    settings = connected(load_settings())
    with clients(settings) as (engine, client):
        cancelled = cancel_backfill(engine, client, settings.keys, backfill_id)
    if as_json:
        _print_json({"id": backfill_id, **asdict(cancelled)})
    elif cancelled.shared_with:
        others = ", ".join(map(str, cancelled.shared_with))
        typer.echo(
            f"backfill {backfill_id} is cancelled: its {cancelled.enqueued} enqueued rows stay in the inbox, where "
            f"nobody can tell them from those of backfill {others}, of the same source at the same time"
        )
    else:
        typer.echo(
            f"backfill {backfill_id} is cancelled: of {cancelled.enqueued} enqueued rows, {cancelled.removed} were "
            "taken out of the inbox and the others had been taken by workers"
        )


@app.command("list")
def list_(as_json: _Json = False) -> None:
    """List the newest backfills."""
    settings = connected(load_settings())
    with clients(settings) as (engine, _):
        records = ledger.recent(engine)
    if as_json:
        _print_json([record.as_json() for record in records])
        return
    for line in as_table(records):
        typer.echo(line)


app.add_typer(schedule_app(start, read_options), name="schedule")


@contextmanager
def _stoppable(backfill_id: int) -> Iterator[None]:
    """Gives way to other processes; says how to go on after a signal, and exits as a process that it ended."""
    with suppress(OSError):
        os.nice(_NICE)
    try:
        yield
    except StoppedError as error:
        typer.echo(f"stopped; go on with `fenliu backfill resume {backfill_id}`", err=True)
        raise typer.Exit(error.code) from None


def _origin(origin: str | None, query: str | None, url_env: str | None) -> tuple[str, str | None]:
    """What is kept of the origin, and the URL in it."""
    if url_env or (origin and "://" in origin):
        if not query:
            raise typer.BadParameter("a database needs --query 'SELECT …' and --key COLUMN", param_hint="--query")
        if url_env and origin:
            raise typer.BadParameter("give either SOURCE or --url-env", param_hint="--url-env")
        url = os.environ.get(url_env, "") if url_env else origin or ""
        if not url:
            raise typer.BadParameter(f"the variable {url_env} is not set", param_hint="--url-env")
        return shown_url(url), url
    if not origin:
        raise typer.BadParameter("is missing: a file, -, a database URL or items", param_hint="SOURCE")
    if query:
        raise typer.BadParameter("belongs to a database URL", param_hint="--query")
    if origin not in {STDIN, ITEMS} and not Path(origin).is_file():
        raise typer.BadParameter(f"{origin} is no file", param_hint="SOURCE")
    try:
        origin.encode()
    except UnicodeEncodeError:
        raise typer.BadParameter("its name is not UTF-8; rename the file", param_hint="SOURCE") from None
    if origin == STDIN and sys.stdin.isatty():
        typer.echo("reading plain lines; end with Ctrl-D", err=True)
    return absolute(origin), None


def _print_end(record: Record, report: Mapping[str, Any] | None, as_json: bool) -> None:
    """Some refused rows are in the nature of old data; when all of them are, the command has failed."""
    progress = record.progress
    if as_json:
        _print_json(record.as_json())
    elif report is None:
        said = f"{progress.enqueued:,} enqueued; `fenliu backfill resume {record.id}` waits and makes the report"
        typer.echo(f"backfill {record.id}: {said}")
    else:
        for line in report_lines(record):
            typer.echo(line)
    if progress.refused and not (progress.enqueued or progress.skipped):
        raise typer.Exit(1)


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False))
