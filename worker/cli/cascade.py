"""`fenliu models cascade`: two models that there are, made into one by a manifest that names them."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from schemas.errors import ModelError
from schemas.manifest import CARD_FILE, MODEL_NAME, Cascade, Manifest, ModelKind, Source, write_manifest
from schemas.names import Task
from schemas.settings import load_settings
from worker.inference.folder import check, find, model_homes

_CARD = """# {id}

A cascade: `{encoder}` scores all labels, `{pair}` decides among the {keep} best of them. No weights of its own;
licences: {licence}.
"""


def cascade(
    name: Annotated[str, typer.Argument(help="Name of the new model.")],
    encoder: Annotated[str, typer.Argument(help="Model that picks the best labels: name or name/version.")],
    pair: Annotated[str, typer.Argument(help="Model for pairs that decides among them: name or name/version.")],
    keep: Annotated[int, typer.Option(help="How many labels are left to the pair model.", min=2)] = 5,
) -> None:
    """Make one model of an encoder and a pair model: fast over many labels, exact among the best few.

    Prints its name/version, which goes wherever a model is named. It has the encoder's sentiment, if any.
    """
    if not re.fullmatch(MODEL_NAME, name):
        raise typer.BadParameter(f"{name!r} is no model name: use letters, digits, dots, dashes", param_hint="NAME")
    settings = load_settings()
    homes = model_homes(settings.models_home)
    first, second = (check(find(part, homes)) for part in (encoder, pair))
    for part, kind in ((first, ModelKind.ENCODER), (second, ModelKind.NLI)):
        if kind not in part.kind:
            raise ModelError(f"{part.id} is no {kind.value} model: its kind is {', '.join(part.kind)}")
    manifest = Manifest(
        name=name,
        version=_next_version(settings.models_home / name),
        kind=(ModelKind.CASCADE,),
        tasks=tuple(task for task in Task if task is Task.ROUTING or task in first.tasks),
        labels=first.labels if Task.SENTIMENT in first.tasks else (),
        max_tokens=first.max_tokens,
        cascade=Cascade(encoder=first.id, pair=second.id, keep_labels=keep),
        files={},
        source=Source(description=f"{first.id} and {second.id}", licence=_both(first.licence, second.licence)),
        licence=_both(first.licence, second.licence),
    )
    card = _CARD.format(id=manifest.id, encoder=first.id, pair=second.id, keep=keep, licence=manifest.licence)
    _write(settings.models_home / manifest.name / manifest.version, manifest, card)
    typer.echo(manifest.id)


def _both(first: str, second: str) -> str:
    return first if first == second else f"{first} AND {second}"


def _next_version(folder: Path) -> str:
    taken = [int(path.name) for path in folder.glob("*") if path.name.isdigit()]
    return str(max(taken, default=0) + 1)


def _write(folder: Path, manifest: Manifest, card: str) -> None:
    """Written beside and renamed, so that nobody finds half of it. Raises ModelError."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".", dir=folder.parent))
        try:
            write_manifest(scratch, manifest)
            (scratch / CARD_FILE).write_text(card, encoding="utf-8")
            scratch.chmod(0o755)
            scratch.rename(folder)
        except OSError:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
    except OSError as error:
        raise ModelError(f"{folder}: {error.strerror or error}") from error
