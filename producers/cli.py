"""`fenliu enqueue`: items of a file or a pipe into an inbox, with what was refused and why."""

from __future__ import annotations

import codecs
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from producers.client import Client
from producers.sources import STDIN, BadRow, Format, Row, Source
from schemas.errors import EntryError, FenliuError, RetryableError
from schemas.names import Kind, Lane
from schemas.settings import load_settings
from schemas.stack import connected

SHOWN_REFUSALS = 20
_SAY_EVERY_S = 5.0
_SHOW_EVERY_ENTRIES = 100


@dataclass
class _Tally:
    """What has become of the rows so far."""

    lane: Lane
    unit: str
    enqueued: int = 0
    refused: int = 0
    _unread: list[dict[str, Any]] = field(default_factory=list)
    _unsent: list[dict[str, Any]] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.started

    @property
    def refusals(self) -> list[dict[str, Any]]:
        """The first refused rows. Rows are read some way before they are sent, hence two lists."""
        return sorted(self._unread + self._unsent, key=lambda refusal: int(refusal[self.unit]))[:SHOWN_REFUSALS]

    def cannot_read(self, row: BadRow) -> None:
        self._refuse(self._unread, row.line, None, str(row.error).partition(": ")[2])

    def cannot_send(self, row: Row, error: EntryError) -> None:
        self._refuse(self._unsent, row.line, error.code.value, str(error))

    def _refuse(self, kept: list[dict[str, Any]], line: int, code: str | None, message: str) -> None:
        self.refused += 1
        if len(kept) < SHOWN_REFUSALS:
            kept.append({self.unit: line, "code": code, "message": message})

    def as_json(self) -> dict[str, Any]:
        return {
            "lane": self.lane.value,
            "enqueued": self.enqueued,
            "refused": self.refused,
            "refusals": self.refusals,
            "elapsed_s": round(self.elapsed_s, 3),
        }


def enqueue(
    file: Annotated[str, typer.Argument(metavar="[FILE|-]", help="CSV, JSON lines, Parquet or plain lines.")] = STDIN,
    *,
    kind: Annotated[Kind | None, typer.Option(help="What rows are that do not say so themselves.")] = None,
    source: Annotated[str | None, typer.Option(help="Where rows come from that do not say so themselves.")] = None,
    bulk: Annotated[bool, typer.Option("--bulk", help="Use the bulk inbox, which yields to the live one.")] = False,
    format: Annotated[
        Format | None, typer.Option(help="How the file is written. Default: by its name, else by its first line.")
    ] = None,
    id_column: Annotated[str, typer.Option(help="Column with each item's own id.")] = "id",
    text_column: Annotated[str, typer.Option(help="Column with the text.")] = "text",
    encoding: Annotated[str, typer.Option(help="Encoding of a text file, such as gb18030.")] = "utf-8-sig",
    wait: Annotated[bool, typer.Option("--wait", help="Wait while the inbox is full or Redis is away.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Put the items of a file or a pipe into an inbox.

    Columns are named as the fields of an inbox entry (id, text, source, kind,
    created_at, meta, …); other columns are kept with the item. Rows without an
    id get one made of file name, line and text, so that the same file enqueued
    twice makes no item twice. Exits 1 if any row was refused; the others are
    enqueued.
    """
    _check_arguments(file, encoding)
    settings = connected(load_settings())
    lane = Lane.BULK if bulk else Lane.LIVE
    with (
        Source(file, format=format, encoding=encoding, id_column=id_column, text_column=text_column) as rows,
        Client.from_settings(settings) as client,
    ):
        tally = _Tally(lane, rows.unit)
        defaults = {
            name: value for name, value in (("kind", kind and kind.value), ("source", source)) if value is not None
        }
        try:
            _enqueue(client, rows, defaults, tally, wait_s=None if wait else 0.0)
        except FenliuError as error:
            if as_json:
                _print_summary(tally, as_json)
            raise type(error)(f"{error}\n{_what_now(tally, error, wait)}") from error
    _print_summary(tally, as_json)
    if tally.refused:
        raise typer.Exit(1)


def _what_now(tally: _Tally, error: FenliuError, wait: bool) -> str:
    said = f"{tally.enqueued} items are in the {tally.lane} inbox"
    if not isinstance(error, RetryableError):
        return said
    return f"{said}; enqueue the file again, which makes no item twice" + ("" if wait else ", or use --wait")


def _check_arguments(file: str, encoding: str) -> None:
    if file != STDIN and not Path(file).is_file():
        raise typer.BadParameter(f"{file} is no file", param_hint="FILE")
    if file == STDIN and sys.stdin.isatty():
        typer.echo("reading plain lines; end with Ctrl-D", err=True)
    try:
        codecs.lookup(encoding)
    except LookupError:
        raise typer.BadParameter(f"{encoding} is no encoding", param_hint="--encoding") from None


def _enqueue(client: Client, rows: Source, defaults: dict[str, str], tally: _Tally, *, wait_s: float | None) -> None:
    def items() -> Iterator[Row]:
        for row in rows:
            if isinstance(row, BadRow):
                tally.cannot_read(row)
                continue
            for name, value in defaults.items():
                row.setdefault(name, value)
            yield row

    with _display(rows, tally) as show:
        for receipt in client.enqueue_each(items(), lane=tally.lane, wait_s=wait_s):
            if receipt.error is None:
                tally.enqueued += 1
            elif isinstance(receipt.item, Row):
                tally.cannot_send(receipt.item, receipt.error)
            if (tally.enqueued + tally.refused) % _SHOW_EVERY_ENTRIES == 0:
                show()


@contextmanager
def _display(rows: Source, tally: _Tally) -> Iterator[Callable[[], None]]:
    """A progress bar on a terminal, a plain line now and then elsewhere; both on standard error."""
    if not sys.stderr.isatty():
        said_s = 0.0

        def say() -> None:
            nonlocal said_s
            if tally.elapsed_s - said_s >= _SAY_EVERY_S:
                said_s = tally.elapsed_s
                typer.echo(f"{tally.enqueued} enqueued, {tally.refused} refused, {said_s:.0f} s", err=True)

        yield say
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None if rows.share_read is None else 1.0)

        def draw() -> None:
            rate = tally.enqueued / max(tally.elapsed_s, 0.001)
            progress.update(
                task, completed=rows.share_read or 0.0, description=f"{tally.enqueued:,} enqueued, {rate:,.0f}/s"
            )

        yield draw


def _print_summary(tally: _Tally, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(tally.as_json(), ensure_ascii=False))
        return
    typer.echo(f"{tally.enqueued} enqueued in the {tally.lane} inbox, {tally.refused} refused")
    refusals = tally.refusals
    for refusal in refusals:
        typer.echo(f"  {tally.unit} {refusal[tally.unit]}: {refusal['message']}", err=True)
    if tally.refused > len(refusals):
        typer.echo(f"  and {tally.refused - len(refusals)} more", err=True)
