"""`fenliu quality`: whether the results are still right, and what the clock measures every night."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine

from schemas.database import make_engine
from schemas.errors import ModelError, PermanentError
from schemas.names import Task
from schemas.settings import Settings, cpu_quota, load_settings
from schemas.stack import connected
from worker.cli.cells import cell
from worker.cli.row_json import row_json
from worker.desk import alerts as desk_alerts
from worker.desk import evaluations, quality, starter
from worker.desk.evaluations import Data, Evaluation
from worker.desk.starter import Answer

app = typer.Typer(help="Measure whether the results are still right (docs/quality.md).", no_args_is_help=True)

_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def evaluate(as_json: _AsJson = False) -> None:
    """Measure now what is measured every night.

    Accuracy, macro-F1, calibration and coverage of every model version on
    what reviewers decided; drift of the model in production from its
    reference; its answers to the starter set, once. Raises and ends alerts.
    """
    settings = connected(load_settings())
    engine = make_engine(settings)
    production = quality.in_production(engine)
    if production is None:
        typer.echo("no model is in production yet: start a worker", err=True)
    else:
        _measure_starter(engine, settings, production)
    done = quality.evaluate(engine, settings)
    if as_json:
        typer.echo(row_json({"changed": done.changed, "evaluations": [asdict(each) for each in done.made]}))
        return
    _print(done.made)
    opened = desk_alerts.open_alerts(engine)
    typer.echo(f"{len(done.made)} measured, {done.changed} new, {len(opened)} alerts open")


@app.command()
def show(
    task: Annotated[Task | None, typer.Option(help="Of one task alone.")] = None, as_json: _AsJson = False
) -> None:
    """Show the last measurement of each model version and kind of data."""
    found = evaluations.listed(make_engine(connected(load_settings())), task.value if task else None)
    if as_json:
        typer.echo(row_json([asdict(each) for each in found]))
        return
    _print(found)
    if not found:
        typer.echo("nothing is measured yet: run `fenliu quality evaluate`")


@app.command()
def alerts(as_json: _AsJson = False) -> None:
    """List bounds that were crossed, those that still are first."""
    found = desk_alerts.listed(make_engine(connected(load_settings())))
    if as_json:
        typer.echo(row_json([asdict(each) for each in found]))
        return
    for each in found:
        state = "open" if each.ended_at is None else f"ended {each.ended_at:%Y-%m-%d %H:%M}Z"
        typer.echo(f"{each.created_at:%Y-%m-%d %H:%M}Z  {state}  {each.model}/{each.model_version}: {each.message}")
    if not found:
        typer.echo("no alerts")


@app.command()
def reference(as_json: _AsJson = False) -> None:
    """Let the last day's results be what drift is measured against.

    For changes that are known and wanted, such as a new source or new teams.
    Fenliu takes the first reference by itself.
    """
    settings = connected(load_settings())
    engine = make_engine(settings)
    taken = quality.take_reference(engine, settings)
    if not taken:
        raise PermanentError(
            f"there are fewer than {settings.quality_items} live results of the model in production "
            "(FENLIU_QUALITY_ITEMS); try again when there are more"
        )
    quality.evaluate(engine, settings)
    if as_json:
        typer.echo(row_json([asdict(each) for each in taken]))
        return
    for each in taken:
        typer.echo(f"{each.task}: {each.items} results of {each.model}/{each.model_version} are the reference now")


def _measure_starter(engine: Engine, settings: Settings, production: quality.Production) -> None:
    """Answer the starter set as `fenliu predict` would, where the model in production has not done so."""
    tasks = starter.to_measure(engine, production)
    if not tasks:
        return
    from worker.inference.classifier import Classifier, Job
    from worker.inference.folder import find, model_homes

    try:
        folder = find(f"{production.model}/{production.version}", model_homes(settings.models_home))
        classifier = Classifier.load(
            folder, run_tokens=settings.run_tokens, threads=cpu_quota(), provider=settings.provider
        )
    except ModelError as error:
        typer.echo(f"the starter set is not measured: {error}", err=True)
        return
    for task in tasks:
        labels = classifier.prepare(starter.read_starter().labels) if task is Task.ROUTING else None
        items = starter.read_starter().of(task)
        results = classifier.classify([Job(item.text, labels is None, labels) for item in items])
        found = [result.routing if labels else result.sentiment for result in results]
        answers = [Answer(scores.label, scores.score, scores.scores) for scores in found if scores]
        starter.store(engine, task, (production.model, production.version), answers, settings)


def _print(found: Sequence[Evaluation]) -> None:
    measured = [each for each in found if each.data not in {Data.REFERENCE, Data.DRIFT}]
    if measured:
        table = Table("task", "model", "data", "items", "accuracy", "95 %", "macro-F1", "ECE", "coverage", box=None)
        for each in measured:
            made, interval = each.metrics, each.metrics["accuracy"]
            table.add_row(
                each.task, cell(f"{each.model}/{each.model_version}"), cell(each.data), str(each.items),
                f"{each.accuracy:.3f}",
                f"{interval['low']:.3f}-{interval['high']:.3f}", f"{each.macro_f1:.3f}",
                f"{made['calibration_error']:.3f}", f"{made['covered']['value']:.2f}",
            )  # fmt: skip
        Console(width=None if sys.stdout.isatty() else 140).print(table)
    for each in found:
        for measure, drift in each.metrics.get("drift", {}).items():
            typer.echo(f"drift of {each.task} {measure}: {drift['value']:.3f} on {each.items} results")
