"""`fenliu train finetune`: options in, a model folder's path out. What happens between is this package's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from training.options import (
    BaseOption,
    DecayOption,
    ModelsOption,
    NameOption,
    ResumeOption,
    ThreadsOption,
    WorkOption,
    progress,
    start,
)


def finetune(
    *,
    data: Annotated[Path, typer.Option(help="Labelled texts: CSV, JSONL or Parquet with the columns text and label.")],
    base: BaseOption,
    name: NameOption,
    eval: Annotated[Path | None, typer.Option(help="Labelled texts to judge by. Default: a share of --data.")] = None,
    eval_share: Annotated[float, typer.Option(min=0.01, max=0.5, help="Share of --data that is kept apart.")] = 0.1,
    text_column: Annotated[str, typer.Option(help="Column or field with the text.")] = "text",
    label_column: Annotated[str, typer.Option(help="Column or field with the label.")] = "label",
    labels: Annotated[str | None, typer.Option(help="a,b,c: the labels in logit order. Default: those found.")] = None,
    encoding: Annotated[str, typer.Option(help="Of CSV and JSONL: utf-8 or gb18030.")] = "utf-8",
    epochs: Annotated[int, typer.Option(min=1, help="Times over the texts, at most.")] = 5,
    rate: Annotated[
        float, typer.Option(min=1e-8, max=1.0, help="Peak rate; the head learns four times as fast.")
    ] = 5e-5,
    batch: Annotated[int, typer.Option(min=1, help="Texts in one pass.")] = 32,
    accumulate: Annotated[int, typer.Option(min=1, help="Passes that make one step.")] = 1,
    max_tokens: Annotated[
        int | None, typer.Option(min=8, help="Longer texts are cut. Default: the base's, 128 at most.")
    ] = None,
    weight_decay: Annotated[float, typer.Option(min=0, help="AdamW's.")] = 0.01,
    decay: DecayOption = "linear",
    warmup: Annotated[float, typer.Option(min=0, max=0.9, help="Share of the steps in which the rate rises.")] = 0.06,
    clip: Annotated[float, typer.Option(min=0.001, help="Largest norm of a gradient.")] = 1.0,
    patience: Annotated[int, typer.Option(min=1, help="Epochs without a better macro-F1 before it stops.")] = 2,
    class_weights: Annotated[
        Literal["balanced", "none"], typer.Option(help="balanced: rare classes count more.")
    ] = "balanced",
    label_smoothing: Annotated[float, typer.Option(min=0, max=0.5, help="For noisy labels, say 0.1.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the split, the order of texts and new weights.")] = 7,
    precision: Annotated[Literal["fp32", "int8"], typer.Option(help="Of the model that the worker loads.")] = "int8",
    threads: ThreadsOption = 0,
    models: ModelsOption = None,
    work: WorkOption = None,
    resume: ResumeOption = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Fine-tune a base on labelled texts and publish the model.

    Near-duplicates stay on one side of the split; the best epoch by macro-F1 is kept and calibrated. A run that was
    killed goes on where it was. Prints the model folder.
    """
    from training.bases import load_base
    from training.data_files import Columns
    from training.finetuning.data import Files, prepare
    from training.finetuning.recipe import Recipe
    from training.finetuning.run import Places, fine_tune

    recipe = Recipe(
        epochs=epochs,
        rate=rate,
        batch_texts=batch,
        accumulate=accumulate,
        max_tokens=max_tokens,
        weight_decay=weight_decay,
        decay=decay,
        warmup_share=warmup,
        clip_norm=clip,
        patience_epochs=patience,
        class_weights=class_weights,
        label_smoothing=label_smoothing,
        eval_share=eval_share,
        seed=seed,
        precision=precision,
    )
    run = start(name, models=models, work=work, threads=threads, resume=resume)
    files = Files(data, eval, Columns(text_column, label_column), encoding, _labels(labels))
    prepared = prepare(files, eval_share, seed, run.show_cleaning)
    amounts = prepared.split.as_json(prepared.labels)
    run.say(f"{amounts['train']['texts']} texts to train on, {amounts['eval']['texts']} to judge by: {amounts['way']}")
    if prepared.split.near_duplicates:
        run.say(f"warning: {prepared.split.near_duplicates} train texts begin as an eval text does")
    chosen = load_base(base, run.homes, run.bases)
    run.say(f"base: {chosen.way}")
    places = Places(name, run.models, run.work)
    with progress(run) as on_step:
        folder = fine_tune(prepared, chosen, recipe, places, say=run.say, on_step=on_step)
    typer.echo(json.dumps(_result(folder), ensure_ascii=False, indent=2) if as_json else str(folder))


def _labels(given: str | None) -> tuple[str, ...] | None:
    if given is None:
        return None
    labels = tuple(label.strip() for label in given.replace("，", ",").split(",") if label.strip())
    if len(set(labels)) < max(2, len(labels)):
        raise typer.BadParameter(f"is {given!r}; give two labels or more, each once", param_hint="--labels")
    return labels


def _result(folder: Path) -> dict[str, Any]:
    from schemas.manifest import read_manifest

    manifest = read_manifest(folder)
    return {"folder": str(folder), "model": manifest.id, "labels": manifest.labels, "metrics": manifest.metrics}
