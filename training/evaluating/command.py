"""`fenliu train evaluate`: options in, an evaluation's folder out. What happens between is this package's."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.errors import ModelError
from schemas.labels import LabelSet, parse_labels_text
from schemas.manifest import MANIFEST_FILE
from schemas.routes import read_labels_file
from schemas.settings import Settings, cpu_quota, load_settings
from training.options import ThreadsOption

if TYPE_CHECKING:
    from training.evaluating.run import Place

_LINE_TEXTS = 2560
"""Texts between two lines of progress where no terminal shows a bar."""


def evaluate(
    *,
    data: Annotated[
        Path, typer.Option(help="Labelled texts: CSV, JSONL or Parquet with the columns text and label, or team.")
    ],
    model: Annotated[
        str | None, typer.Option(help="name, name/version or a model folder. Default: the one in production.")
    ] = None,
    labels: Annotated[str | None, typer.Option(help="Evaluate routing among these labels: a,b,c")] = None,
    labels_file: Annotated[
        Path | None, typer.Option(help="Evaluate routing among the labels or teams of this file: YAML or JSON.")
    ] = None,
    template: Annotated[str | None, typer.Option(help="Put each label into this, where {} stands.")] = None,
    map_: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="OWN=MEANT", help="What a label of the file is called by the model; repeatable."),
    ] = None,
    text_column: Annotated[str, typer.Option(help="Column or field with the text.")] = "text",
    label_column: Annotated[
        str | None, typer.Option(help="Column or field with the label. Default: label; for routing team, if there.")
    ] = None,
    encoding: Annotated[str, typer.Option(help="Of CSV and JSONL: utf-8 or gb18030.")] = "utf-8",
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Score below which a ticket goes to triage. Default: as set.")
    ] = None,
    margin: Annotated[
        float | None, typer.Option(min=0, max=1, help="Lead below which a ticket goes to triage. Default: as set.")
    ] = None,
    latency_texts: Annotated[int, typer.Option(min=0, help="Texts that are timed alone.")] = 200,
    threads: ThreadsOption = 0,
    name: Annotated[str | None, typer.Option(help="What to file the figures under. Default: the file's name.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder that gets the files. Default: FENLIU_HOME/evaluations/MODEL-VERSION-NAME."),
    ] = None,
    write_metrics: Annotated[
        bool | None,
        typer.Option(
            "--write-metrics/--no-write-metrics",
            help="Put the figures into the model's manifest and card. Default: for models in FENLIU_HOME.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print report.json.")] = False,
) -> None:
    """Measure a model on labelled texts: accuracy, macro-F1, each class, calibration, mistakes, latency.

    Runs as in production, with neither torch nor a server. Prints the classification report and the folder that holds
    report.json, classification_report.txt, confusion_matrix.png, confidence_histogram.png and wrong.csv.
    """
    from training.data_files import Columns
    from training.evaluating.data import label_column as usual_column
    from training.evaluating.data import parse_mapping
    from training.evaluating.run import Question, evaluate_model

    settings = load_settings()
    teams = _teams(labels, labels_file, template)
    usual = usual_column(data, encoding) if teams else "label"
    question = Question(
        data,
        Columns(text_column, label_column or usual),
        encoding,
        parse_mapping(map_ or ()),
        teams,
        template,
        settings.triage_threshold if threshold is None else threshold,
        settings.triage_margin if margin is None else margin,
    )
    folder = _folder(settings, model)
    place = _place(settings, folder, name or data.stem, out, write_metrics=write_metrics)
    with _progress() as on_texts:
        report, text = evaluate_model(
            folder,
            question,
            place,
            run_tokens=settings.run_tokens,
            threads=threads or cpu_quota(),
            latency_texts=latency_texts,
            on_texts=on_texts,
        )
    if as_json:
        typer.echo(json.dumps(report, ensure_ascii=False, indent=2))
        return
    typer.echo(text)
    typer.echo(str(place.out))


def _teams(labels: str | None, labels_file: Path | None, template: str | None) -> LabelSet | None:
    if labels is not None and labels_file:
        raise typer.BadParameter("give --labels or --labels-file, not both", param_hint="--labels")
    if labels is None and not labels_file:
        if template is not None:
            raise typer.BadParameter("is for routing: add --labels or --labels-file", param_hint="--template")
        return None
    if template is not None and template.count("{}") != 1:
        raise typer.BadParameter("must hold {} once, where the label goes", param_hint="--template")
    return read_labels_file(labels_file) if labels_file else parse_labels_text(labels or "")


def _folder(settings: Settings, model: str | None) -> Path:
    from worker.inference.folder import find, model_homes

    if model and (Path(model) / MANIFEST_FILE).is_file():
        return Path(model)
    return find(model or settings.model, model_homes(settings.models_home))


def _place(settings: Settings, folder: Path, name: str, out: Path | None, *, write_metrics: bool | None) -> Place:
    from schemas.manifest import read_manifest
    from training.evaluating.record import RESERVED
    from training.evaluating.run import Place

    if not name or name in RESERVED or Path(name).name != name:
        raise ModelError(f"--name: figures cannot be filed under {name!r}; give another name")
    if write_metrics is None:
        write_metrics = settings.models_home.resolve() in folder.resolve().parents
    manifest = read_manifest(folder)
    usual = settings.home / "evaluations" / f"{manifest.name}-{manifest.version}-{name}"
    return Place(name, out or usual, write_metrics=write_metrics)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Gives what to call with how many texts are done and how many there are; shows it on stderr."""
    if not sys.stderr.isatty():
        yield _say
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("texts"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("texts", total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


def _say(done: int, of: int) -> None:
    if done == of or done % _LINE_TEXTS == 0:
        typer.echo(f"{done} of {of} texts", err=True)
