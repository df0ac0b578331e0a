"""`fenliu models`: which models there are, and what each says of itself. `import` joins from training.importing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from schemas.errors import ModelError
from schemas.manifest import CARD_FILE, Manifest
from schemas.settings import load_settings
from worker.cli.cascade import cascade
from worker.cli.cells import cell
from worker.inference.folder import Listed, check, find, list_models, model_homes, size_bytes

app = typer.Typer(no_args_is_help=True, help="List, show and import models.")
app.command("cascade")(cascade)

_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_(as_json: _AsJson = False) -> None:
    """List every model, the one in production marked with *."""
    settings = load_settings()
    homes = model_homes(settings.models_home)
    production = _production(settings.model, homes)
    listed = list_models(homes)
    if as_json:
        typer.echo(json.dumps([_row(model, production) for model in listed], ensure_ascii=False, indent=2))
    elif listed:
        Console().print(_table(listed, production))
    else:
        typer.echo(f"no model is in {', '.join(str(home) for home in homes)}", err=True)
    if production is None:
        typer.echo(f"FENLIU_MODEL is {settings.model!r}, which is not among them", err=True)


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="name or name/version. Default: the one in production.")] = "",
    as_json: _AsJson = False,
) -> None:
    """Show a model's manifest, after holding its files against it."""
    settings = load_settings()
    homes = model_homes(settings.models_home)
    folder = find(name or settings.model, homes)
    manifest = check(folder)
    card = folder / CARD_FILE
    shown = {
        **manifest.model_dump(mode="json"),
        "production": folder == _production(settings.model, homes),
        "folder": str(folder),
        "card": str(card) if card.is_file() else None,
        "size_bytes": size_bytes(folder, manifest),
    }
    if as_json:
        typer.echo(json.dumps(shown, ensure_ascii=False, indent=2))
        return
    table = Table.grid(padding=(0, 2))
    for field, value in shown.items():
        table.add_row(cell(field, style="bold"), cell(_readable(value)))
    Console().print(table)


def _production(name_or_id: str, homes: tuple[Path, ...]) -> Path | None:
    try:
        return find(name_or_id, homes)
    except ModelError:
        return None


def _row(model: Listed, production: Path | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": model.name,
        "version": model.version,
        "production": model.folder == production,
        "folder": str(model.folder),
        "problem": model.problem or None,
    }
    if model.manifest is not None:
        chosen = ("kind", "tasks", "labels", "max_tokens", "quantization", "licence", "metrics")
        row |= model.manifest.model_dump(mode="json", include=set(chosen))
        row["size_bytes"] = size_bytes(model.folder, model.manifest)
    return row


def _table(listed: list[Listed], production: Path | None) -> Table:
    table = Table("", "model", "tasks", "size", "licence", "accuracy on", box=None, header_style="bold")
    for model in listed:
        mark = "*" if model.folder == production else ""
        if model.manifest is None:
            table.add_row(mark, model.id, "", "", "", cell(model.problem, style="red"))
            continue
        manifest: Manifest = model.manifest
        size = f"{size_bytes(model.folder, manifest) / 1e6:.0f} MB"
        measured = cell("\n".join(_accuracies(manifest.metrics)) or "-")
        table.add_row(mark, model.id, ", ".join(manifest.tasks), size, cell(manifest.licence), measured)
    return table


def _accuracies(value: object, name: str = "") -> list[str]:
    """The accuracies among metrics, as lines `data: 0.9`; `show` tells the rest."""
    if not isinstance(value, dict):
        return []
    own = [f"{name}: {value['accuracy']}"] if name and "accuracy" in value else []
    inner = ((f"{name}.{key}" if name else str(key), part) for key, part in value.items())
    return own + [line for inner_name, part in inner for line in _accuracies(part, inner_name)]


def _leaves(value: object, name: str = "") -> list[str]:
    """Metrics as lines `a.b: 0.9`, however deep they are."""
    if isinstance(value, dict):
        return [line for key, inner in value.items() for line in _leaves(inner, f"{name}.{key}" if name else str(key))]
    return [f"{name}: {value}"]


def _readable(value: object) -> str:
    if isinstance(value, dict):
        return "\n".join(_leaves(value)) or "-"
    if isinstance(value, list):
        return ", ".join(str(part) for part in value) or "-"
    return "-" if value is None or value == "" else str(value)
