"""What the commands that train have in common: options, places, threads, and how they tell what they do.

A progress bar on a terminal, plain lines elsewhere; both on stderr, so that stdout holds the result alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer
from rich.console import Console

from schemas.errors import ModelError
from schemas.settings import cpu_quota, load_settings

if TYPE_CHECKING:
    from training.cleaning import Tally

BaseOption: TypeAlias = Annotated[
    str,
    typer.Option("--base", help="A model's name, a model folder, a folder of `train adapt`, or a transformers folder."),
]
NameOption: TypeAlias = Annotated[str, typer.Option("--name", help="Name of what is made.")]
ModelsOption: TypeAlias = Annotated[
    Path | None, typer.Option("--models", help="Folder that gets the model folder. Default: FENLIU_HOME/models.")
]
WorkOption: TypeAlias = Annotated[
    Path | None, typer.Option("--work", help="Folder of checkpoints. Default: FENLIU_HOME/training/NAME.")
]
ResumeOption: TypeAlias = Annotated[
    bool, typer.Option("--resume/--fresh", help="Go on from a checkpoint of the same run, or begin anew.")
]
ThreadsOption: TypeAlias = Annotated[int, typer.Option(min=0, help="CPU threads. 0: as many as there are CPUs.")]
DecayOption: TypeAlias = Annotated[
    Literal["linear", "cosine"], typer.Option(help="How the rate falls after the warmup.")
]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_PLAIN_WIDTH = 120


@dataclass(frozen=True)
class Run:
    """Where a command works. `homes`: where models are looked for. `bases`: where `train adapt` puts its folders."""

    models: Path
    homes: tuple[Path, ...]
    bases: Path
    work: Path
    console: Console

    def say(self, line: str) -> None:
        """One line of what happens."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def show_cleaning(self, tally: Tally) -> None:
        """What cleaning did to a file."""
        if tally.counts:
            self.console.print(tally.table())
        else:
            self.say(f"{tally.file}: {tally.rows} texts, nothing to clean")


def start(name: str, *, models: Path | None, work: Path | None, threads: int, resume: bool) -> Run:
    """Checks the name, sets torch's threads, and with `--fresh` forgets earlier checkpoints of this name."""
    import torch

    from worker.inference.folder import model_homes

    if not _NAME.fullmatch(name):
        raise ModelError(f"--name: {name!r} is no model name; use letters, digits, dots, hyphens and underscores")
    settings = load_settings()
    torch.set_num_threads(threads or cpu_quota())
    home = models or settings.models_home
    place = work or settings.home / "training" / name
    if not resume:
        _forget(place)
    console = Console(stderr=True)
    if not console.is_terminal:
        console = Console(stderr=True, width=_PLAIN_WIDTH)
    homes = (home, *model_homes(settings.models_home))
    return Run(home, homes, settings.home / "bases", place, console)


@contextmanager
def progress(run: Run) -> Iterator[Callable[[int, int], None] | None]:
    """Gives what to call after each step with its number and their total; None where no terminal shows a bar."""
    if not run.console.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=run.console, transient=True) as bar:
        task = bar.add_task("training", total=None)
        yield lambda step, steps: bar.update(task, completed=step, total=steps)


def _forget(work: Path) -> None:
    for path in work.glob("*.pt") if work.is_dir() else ():
        path.unlink()
        path.with_suffix(".json").unlink(missing_ok=True)
