"""`fenliu train quantize`: an FP32 model folder in, the next version of it in INT8 out, checked against FP32."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from schemas.errors import ModelError
from schemas.manifest import CARD_FILE, MANIFEST_FILE, MODEL_FILE, TOKENIZER_FILE, ModelKind, read_manifest, sha256_of
from schemas.settings import load_settings

_CHECKED_SHARE = 4
"""Of a user's texts every fourth is for the check and has no part in the scales."""


def quantize(
    *,
    model: Annotated[str, typer.Option(help="An FP32 model: name, name/version or a model folder.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Texts like those to come: CSV, JSONL or Parquet. Default: texts that Fenliu brings."),
    ] = None,
    text_column: Annotated[str, typer.Option(help="Column or field with the text.")] = "text",
    per_row: Annotated[
        bool, typer.Option("--per-row", help="A scale for every token instead of fixed ones: slower, needs no texts.")
    ] = False,
    weight_levels: Annotated[
        int, typer.Option(help="63: the same numbers on every processor. 127: finer, wrong on x86 without VNNI.")
    ] = 63,
    models: Annotated[
        Path | None, typer.Option(help="Folder that gets the model folder. Default: FENLIU_HOME/models.")
    ] = None,
) -> None:
    """Write the INT8 form of an FP32 model as its next version."""
    from worker.inference.folder import find, model_homes

    if weight_levels not in (63, 127):
        raise typer.BadParameter(f"is {weight_levels}; use 63 or 127", param_hint="--weight-levels")
    settings = load_settings()
    folder = Path(model) if (Path(model) / MANIFEST_FILE).is_file() else find(model, model_homes(settings.models_home))
    texts = _texts(data, text_column) if data else []
    home = models or settings.models_home
    typer.echo(str(quantize_folder(folder, home, texts, per_row=per_row, weight_levels=weight_levels, say=typer.echo)))


def quantize_folder(
    folder: Path,
    models: Path,
    texts: Sequence[str],
    *,
    per_row: bool = False,
    weight_levels: int = 63,
    say: Callable[[str], None],
) -> Path:
    """Writes `<models>/<name>/<next free version>/` and returns it.

    The scales come from `texts`, without any from `training.range_texts`. Raises ModelError if the model is not FP32.
    """
    import onnx

    from training import agreement, card, range_texts
    from training.quantize import QUANTIZATION, STATIC_QUANTIZATION, Quantization
    from training.quantize import quantize as quantized

    manifest = read_manifest(folder)
    if manifest.cascade or manifest.quantization != "none":
        what = "a cascade, which has no graph" if manifest.cascade else f"{manifest.quantization} already"
        raise ModelError(f"{folder}: is {what}; name an FP32 model")
    pairs = ModelKind.NLI in manifest.kind
    used = list(texts) or range_texts.general_texts()
    checked = used[::_CHECKED_SHARE]
    seen = [text for number, text in enumerate(used) if number % _CHECKED_SHARE] or used
    tokenizer = folder / TOKENIZER_FILE
    graph = onnx.load(folder / MODEL_FILE)
    say(f"ranges of {len(seen)} texts" if not per_row else "a scale for every token")
    feeds = None if per_row else range_texts.feeds(tokenizer, seen, manifest.max_tokens, pairs=pairs)
    result = quantized(graph, Quantization(weight_levels=weight_levels), feeds)
    rows = agreement.rows(tokenizer, checked, manifest.max_tokens, pairs=pairs)
    alone = agreement.graph_outputs(result, rows)
    metrics = {
        **manifest.metrics,
        "int8": {"texts": len(rows), **agreement.compared(agreement.graph_outputs(graph, rows), alone)},
        "batch": {"texts": len(rows), **agreement.compared(alone, agreement.batched_outputs(result, rows))},
    }
    say(", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in metrics["int8"].items()))
    home = models / manifest.name
    home.mkdir(parents=True, exist_ok=True)
    version = str(max((int(path.name) for path in home.iterdir() if path.name.isdigit()), default=0) + 1)
    with tempfile.TemporaryDirectory(prefix=".", dir=home) as scratch:
        target = Path(scratch) / "model"
        shutil.copytree(folder, target)
        onnx.save(result, target / MODEL_FILE)
        manifest = manifest.model_copy(
            update={
                "version": version,
                "quantization": QUANTIZATION if per_row else STATIC_QUANTIZATION,
                "files": {name: sha256_of(target / name) for name in manifest.files},
                "metrics": metrics,
            }
        )
        (target / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (target / CARD_FILE).write_text(card.describe(manifest, ()), encoding="utf-8")
        target.rename(home / version)
    return home / version


def _texts(path: Path, column: str) -> list[str]:
    from training.data_files import Columns, read_rows

    return [row.text for row in read_rows(path, Columns(column, None))]
