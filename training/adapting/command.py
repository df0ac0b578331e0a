"""`fenliu train adapt`: options in, a base folder's path out. What happens between is this package's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from training.options import (
    BaseOption,
    DecayOption,
    NameOption,
    ResumeOption,
    ThreadsOption,
    WorkOption,
    progress,
    start,
)


def adapt(
    *,
    data: Annotated[Path, typer.Option(help="Texts: plain lines (.txt), CSV, JSONL or Parquet.")],
    base: BaseOption,
    name: NameOption,
    text_column: Annotated[str, typer.Option(help="Column or field with the text.")] = "text",
    encoding: Annotated[str, typer.Option(help="Of the file: utf-8 or gb18030.")] = "utf-8",
    eval_share: Annotated[float, typer.Option(min=0.001, max=0.5, help="Share held out to measure on.")] = 0.05,
    epochs: Annotated[int, typer.Option(min=1, help="Times over the texts.")] = 3,
    rate: Annotated[float, typer.Option(min=1e-8, max=1.0, help="Peak learning rate.")] = 5e-5,
    batch: Annotated[int, typer.Option(min=1, help="Texts in one pass.")] = 32,
    accumulate: Annotated[int, typer.Option(min=1, help="Passes that make one step.")] = 1,
    max_tokens: Annotated[
        int | None, typer.Option(min=16, help="Longer texts are read in pieces. Default: the base's, 128 at most.")
    ] = None,
    weight_decay: Annotated[float, typer.Option(min=0, help="AdamW's.")] = 0.01,
    decay: DecayOption = "linear",
    warmup: Annotated[float, typer.Option(min=0, max=0.9, help="Share of the steps in which the rate rises.")] = 0.06,
    clip: Annotated[float, typer.Option(min=0.001, help="Largest norm of a gradient.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the masks, the order of texts and new weights.")] = 7,
    threads: ThreadsOption = 0,
    work: WorkOption = None,
    out: Annotated[Path | None, typer.Option(help="The folder to make. Default: FENLIU_HOME/bases/NAME.")] = None,
    resume: ResumeOption = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Adapt a base to a domain's language on texts without labels, by guessing masked tokens.

    Makes a folder for `train finetune --base NAME`, not a model for the worker. A run that was killed goes on where
    it was. Prints the folder.
    """
    from training.adapting.run import REPORT_FILE, Places, Recipe
    from training.adapting.run import adapt as run_adapt
    from training.bases import load_base, token_limit
    from training.cleaning import Tally, clean_rows
    from training.data_files import Columns, read_rows

    run = start(name, models=None, work=work, threads=threads, resume=resume)
    tally = Tally(data.name)
    texts = clean_rows(read_rows(data, Columns(text_column, None), encoding=encoding), tally)
    run.show_cleaning(tally)
    chosen = load_base(base, run.homes, run.bases)
    run.say(f"base: {chosen.way}")
    recipe = Recipe(
        epochs=epochs,
        rate=rate,
        batch_texts=batch,
        accumulate=accumulate,
        max_tokens=token_limit(chosen, max_tokens),
        weight_decay=weight_decay,
        decay=decay,
        warmup_share=warmup,
        clip_norm=clip,
        eval_share=eval_share,
        seed=seed,
    )
    places = Places(out or run.bases / name, run.work)
    with progress(run) as on_step:
        folder = run_adapt(texts, tally, chosen, recipe, places, say=run.say, on_step=on_step)
    if as_json:
        report = json.loads((folder / REPORT_FILE).read_text(encoding="utf-8"))
        shown = {"folder": str(folder), "held_out": report["held_out"]}
        typer.echo(json.dumps(shown, ensure_ascii=False, indent=2))
    else:
        typer.echo(str(folder))
