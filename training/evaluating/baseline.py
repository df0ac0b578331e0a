"""`fenliu train baseline`: what TF-IDF with a linear model reaches on a file, to hold a network against."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from training.data_files import Row


def baseline(
    *,
    train: Annotated[Path, typer.Option(help="Labelled texts to learn from: CSV, JSONL or Parquet.")],
    data: Annotated[Path, typer.Option(help="Labelled texts to measure on.")],
    model: Annotated[Literal["svm", "logistic"], typer.Option(help="What stands on the n-grams.")] = "svm",
    balanced: Annotated[bool, typer.Option("--balanced", help="Rare classes count more.")] = False,
    c: Annotated[float, typer.Option("--c", min=1e-6, help="Inverse strength of the regularization.")] = 1.0,
    map_: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="OWN=MEANT", help="What a label of --data is called in --train; repeatable."),
    ] = None,
    text_column: Annotated[str, typer.Option(help="Column or field with the text.")] = "text",
    label_column: Annotated[str, typer.Option(help="Column or field with the label.")] = "label",
    encoding: Annotated[str, typer.Option(help="Of CSV and JSONL: utf-8 or gb18030.")] = "utf-8",
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Measure character n-gram TF-IDF with a linear model: what a network has to beat."""
    from training.baselines import Baseline, Linear, measured
    from training.data_files import Columns, read_rows
    from training.evaluating.data import parse_mapping, read
    from training.finetuning.split import check_classes

    columns = Columns(text_column, label_column)
    known = read_rows(train, columns, encoding=encoding)
    labels = sorted({row.label for row in known})
    check_classes(train, known, labels)
    rows = read(data, labels, columns, parse_mapping(map_ or ()), encoding=encoding).rows
    fitted = Baseline(Linear(model), c=c, balanced=balanced).fitted(*_columns(known))
    figures = measured(fitted, *_columns(rows))
    typer.echo(json.dumps(figures, ensure_ascii=False, indent=2) if as_json else _table(figures))


def _columns(rows: Sequence[Row]) -> tuple[list[str], list[str]]:
    return [row.text for row in rows], [row.label for row in rows]


def _table(figures: dict[str, Any]) -> str:
    from rich.cells import cell_len

    width = max(cell_len(label) for label in ("macro F1", *figures["per_class"]))

    def cell(text: str) -> str:
        return text + " " * (width - cell_len(text))

    lines = [f"{cell('class')}  precision  recall      F1  texts"]
    lines += [
        f"{cell(label)}  {of['precision']:9.4f}  {of['recall']:.4f}  {of['f1']:.4f}  {of['texts']:5d}"
        for label, of in figures["per_class"].items()
    ]
    lines += [f"{cell('accuracy')}  {figures['accuracy']:.4f}", f"{cell('macro F1')}  {figures['macro_f1']:.4f}"]
    return "\n".join(lines)
