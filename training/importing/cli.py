"""`fenliu models import`. torch is loaded when the command runs, not before."""

from __future__ import annotations

import enum
import importlib.util
import json
from typing import Annotated, Any

import typer

from schemas.errors import SetupError
from schemas.manifest import LongText, read_manifest
from schemas.names import Task

_NEEDED = ("torch", "transformers", "onnx", "safetensors")


class PrecisionChoice(enum.StrEnum):
    """What the weights of the new model are."""

    FP32 = "fp32"
    INT8 = "int8"


def import_(
    path_or_id: Annotated[str, typer.Argument(help="A ModelScope or transformers folder, or the id of a model.")],
    *,
    name: Annotated[str, typer.Option(help="What to call the model; a taken name gets the next version.")],
    precision: Annotated[
        PrecisionChoice, typer.Option(help="int8: a quarter of the size, and faster. fp32: exact.")
    ] = PrecisionChoice.INT8,
    task: Annotated[Task | None, typer.Option(help="What the model is for. Default: what its files say.")] = None,
    long_text: Annotated[
        LongText | None,
        typer.Option(help="Text over the length. Default: truncate for ModelScope's, as it does; else windows."),
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=8, help="The model's length in tokens. Default: what its files say.")
    ] = None,
    licence: Annotated[str, typer.Option(help="The checkpoint's licence, for manifest and card.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make a model of a ModelScope or transformers checkpoint: ONNX, checked against PyTorch."""
    missing = [package for package in _NEEDED if importlib.util.find_spec(package) is None]
    if missing:
        raise SetupError(
            f"importing needs {', '.join(missing)}: pip install 'fenliu[worker,training]' torch, or make venv-training"
        )
    from schemas.settings import load_settings
    from training.importing.importer import import_model

    folder = import_model(
        path_or_id,
        name,
        models=load_settings().models_home,
        precision=precision.value,
        say=lambda line: typer.echo(line, err=True),
        task=task,
        licence=licence,
        long_text=long_text,
        max_tokens=max_tokens,
    )
    manifest = read_manifest(folder)
    if not as_json:
        typer.echo(f"{manifest.id} is in {folder}; try: {_example(manifest.id, manifest.tasks)}")
        return
    made: dict[str, Any] = {"id": manifest.id, "folder": str(folder)}
    chosen = {"kind", "tasks", "labels", "max_tokens", "long_text", "quantization", "licence", "metrics"}
    made |= manifest.model_dump(mode="json", include=chosen)
    typer.echo(json.dumps(made, ensure_ascii=False, indent=2))


def _example(model: str, tasks: tuple[Task, ...]) -> str:
    labels = " --labels '物流,退款'" if Task.ROUTING in tasks else ""
    return f"echo '物流太慢了' | fenliu predict --task {tasks[0].value}{labels} --model {model}"
