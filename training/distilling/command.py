"""`fenliu train distill`: options in, a model folder's path out. What happens between is this package's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from training.options import ModelsOption, NameOption, ResumeOption, ThreadsOption, WorkOption, progress, start


def distill(
    *,
    teacher: Annotated[str, typer.Option(help="A model's name, a model folder or a transformers folder.")],
    layers: Annotated[int, typer.Option(min=1, help="Of the student.")],
    hidden: Annotated[int, typer.Option(min=1, help="Hidden units of the student.")],
    data: Annotated[
        list[Path], typer.Option(help="Texts: CSV, JSONL, Parquet or plain lines. Give it again for more files.")
    ],
    name: NameOption,
    heads: Annotated[int | None, typer.Option(min=1, help="Attention heads. Default: the teacher's.")] = None,
    ffn: Annotated[int | None, typer.Option(min=1, help="Feed-forward units. Default: four times --hidden.")] = None,
    vocabulary: Annotated[int | None, typer.Option(min=8, help="Pieces to keep. Default: all.")] = None,
    eval: Annotated[Path | None, typer.Option(help="Texts to judge by. Default: a share of --data.")] = None,
    eval_share: Annotated[float, typer.Option(min=0.01, max=0.5, help="Share of the texts kept apart.")] = 0.1,
    text_column: Annotated[str, typer.Option(help="Column or field with the text.")] = "text",
    label_column: Annotated[
        str | None, typer.Option(help="Column or field with the teacher's labels, if the texts have them.")
    ] = None,
    encoding: Annotated[str, typer.Option(help="Of CSV, JSONL and plain lines: utf-8 or gb18030.")] = "utf-8",
    begin: Annotated[
        Literal["teacher", "random"], typer.Option(help="The student's first weights: cut from the teacher's, or not.")
    ] = "teacher",
    epochs: Annotated[int, typer.Option(min=1, help="Times over the texts.")] = 5,
    rate: Annotated[float, typer.Option(min=1e-8, max=1.0, help="Peak rate; the head's is twice it.")] = 4e-4,
    batch: Annotated[int, typer.Option(min=1, help="Texts in one step.")] = 32,
    max_tokens: Annotated[
        int | None, typer.Option(min=8, help="Longer texts are cut while learning. Default: 128 at most.")
    ] = None,
    soft: Annotated[float, typer.Option(min=0, help="Weight of the teacher's logits.")] = 1.0,
    hard: Annotated[float, typer.Option(min=0, help="Weight of the labels, where there are any.")] = 0.5,
    embedding: Annotated[float, typer.Option(min=0, help="Weight of the embeddings, for routing.")] = 1.0,
    states: Annotated[float, typer.Option(min=0, help="Weight of the layers' hidden states.")] = 0.5,
    soft_temperature: Annotated[float, typer.Option(min=0.1, help="Softens logits before they are compared.")] = 2.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the split and the order of texts.")] = 7,
    precision: Annotated[Literal["fp32", "int8"], typer.Option(help="Of the model that the worker loads.")] = "int8",
    threads: ThreadsOption = 0,
    models: ModelsOption = None,
    work: WorkOption = None,
    resume: ResumeOption = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Distil a classifier or an encoder into a smaller one that answers as it does.

    Learns from the teacher's logits, embeddings and hidden states on any texts; labels are welcome, not needed. A run
    that was killed goes on where it was. Prints the model folder.
    """
    from training.data_files import Columns
    from training.distilling.data import Files, prepare
    from training.distilling.recipe import Recipe, Weights, student_shape
    from training.distilling.run import Places, distil
    from training.distilling.teacher import load_teacher
    from training.narrow import shape_of

    run = start(name, models=models, work=work, threads=threads, resume=resume)
    taught = load_teacher(teacher, run.homes, run.bases)
    run.say(f"teacher: {taught.base.way}")
    try:
        shape = student_shape(shape_of(taught.base.network), layers, hidden, heads, ffn)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    recipe = Recipe(
        shape=shape,
        vocabulary=vocabulary,
        start=begin,
        epochs=epochs,
        rate=rate,
        batch_texts=batch,
        max_tokens=max_tokens,
        weights=Weights(soft, hard, embedding, states, soft_temperature),
        eval_share=eval_share,
        seed=seed,
        precision=precision,
    )
    files = Files(tuple(data), eval, Columns(text_column, label_column), encoding)
    prepared = prepare(files, taught.base.labels, eval_share, seed, run.show_cleaning)
    amounts = prepared.as_json()
    run.say(f"{amounts['train']['texts']} texts to learn from, {amounts['eval']['texts']} to judge by: {prepared.way}")
    with progress(run) as on_step:
        folder = distil(prepared, taught, recipe, Places(name, run.models, run.work), say=run.say, on_step=on_step)
    typer.echo(json.dumps(_result(folder), ensure_ascii=False, indent=2) if as_json else str(folder))


def _result(folder: Path) -> dict[str, Any]:
    from schemas.manifest import read_manifest

    manifest = read_manifest(folder)
    return {"folder": str(folder), "model": manifest.id, "labels": manifest.labels, "metrics": manifest.metrics}
