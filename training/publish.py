"""From a network to a model folder that the worker loads: graph, precision, manifest, card, and the checks between.

What a manifest may say is `schemas.manifest`'s, the card's wording `training.card`'s. Measuring a published model's
accuracy is `training.evaluation`'s; `add_metrics` writes the figures in.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import onnx
from pydantic import ValidationError

from schemas.errors import ModelError
from schemas.manifest import (
    CARD_FILE,
    MODEL_FILE,
    TOKENIZER_FILE,
    Calibration,
    LongText,
    Manifest,
    ModelKind,
    Pooling,
    Prefixes,
    Source,
    read_manifest,
    sha256_of,
    write_manifest,
)
from schemas.names import Task
from training import agreement, card, export, network, quantize, range_texts
from training.activation_ranges import Feed
from training.network import Network

Precision = Literal["fp32", "int8"]
TORCH_FOLDER = "torch"
MOST_FP32_DIFFERENCE = 1e-4
"""Largest difference of scores between torch and the FP32 graph that rounding explains."""
LEAST_INT8_AGREEMENT = 0.99
_UNSIGNED = "0" * 64


@dataclass(frozen=True)
class Draft:
    """What the manifest of a new model will say, as far as its maker knows. `labels` in logit order.

    `metrics`: what was measured before; `publish` adds `parity`, and for INT8 `int8`.
    """

    name: str
    kind: tuple[ModelKind, ...]
    tasks: tuple[Task, ...]
    labels: tuple[str, ...]
    max_tokens: int
    source: Source
    licence: str
    template: str = "{}"
    description_template: str = "{label}：{description}"
    prefixes: Prefixes = field(default_factory=Prefixes)
    entailment_index: int | None = None
    contradiction_index: int | None = None
    temperature: Calibration = field(default_factory=Calibration)
    long_text: LongText = LongText.WINDOWS
    metrics: Mapping[str, Any] = field(default_factory=dict)
    card_sections: tuple[str, ...] = ()
    """Markdown that the card holds besides what the manifest says."""


def publish(
    model: Network,
    tokenizer_json: Path,
    draft: Draft,
    *,
    precision: Precision,
    models: Path,
    check_texts: Sequence[str],
    say: Callable[[str], None],
    extra_files: Mapping[str, bytes] | None = None,
    finish: Callable[[Path], None] | None = None,
) -> Path:
    """Writes `<models>/<name>/<next free version>/` and returns it; nothing is left behind when it fails.

    The graph is held against torch, and the INT8 graph against the FP32 one, on `check_texts` (at least one).
    `extra_files`, by plain name, go beside the graph and under the manifest's sha256; the network itself goes to
    `torch/`, which is not under them: it may be deleted to save room. `finish` is called with the folder, complete but
    not yet in its place, and may add to it, figures measured through the worker's own inference say. Raises ModelError
    if the draft makes no valid manifest or the graph does not compute what torch computes.
    """
    home = models / draft.name
    manifest = _manifest(draft, model, precision, _next_version(home))
    pairs = ModelKind.NLI in draft.kind
    say("writing the ONNX graph")
    graph = export.to_onnx(model, pairs=pairs, outputs=_outputs(draft.kind))
    checked = agreement.rows(tokenizer_json, check_texts, draft.max_tokens, pairs=pairs)
    ranges: list[Feed] = []
    if precision == "int8":
        ranges = range_texts.feeds(tokenizer_json, range_texts.general_texts(), draft.max_tokens, pairs=pairs)
    graph, figures = _checked(model, graph, checked, ranges, say)
    manifest = manifest.model_copy(update={"metrics": {**draft.metrics, **figures}})
    home.mkdir(parents=True, exist_ok=True)
    # Beside its place, so that the last step is a rename: readers see the whole folder or none.
    with tempfile.TemporaryDirectory(prefix=".", dir=home) as scratch:
        folder = Path(scratch) / "model"
        folder.mkdir()
        onnx.save(graph, folder / MODEL_FILE)
        shutil.copyfile(tokenizer_json, folder / TOKENIZER_FILE)
        for name, content in (extra_files or {}).items():
            (folder / name).write_bytes(content)
        files = {path.name: sha256_of(path) for path in sorted(folder.iterdir())}
        network.save(model, folder / TORCH_FOLDER)
        _described(folder, manifest.model_copy(update={"files": files}), draft.card_sections)
        if finish:
            finish(folder)
        target = home / manifest.version
        folder.rename(target)
    say(f"{target} is written")
    return target


def add_metrics(folder: Path, metrics: Mapping[str, Any], card_sections: Sequence[str] = ()) -> Manifest:
    """Puts more figures into a published folder's manifest and card; a key that is there is replaced.

    The card is written anew, so its sections must be given again.
    """
    manifest = read_manifest(folder)
    return _described(folder, manifest.model_copy(update={"metrics": {**manifest.metrics, **metrics}}), card_sections)


def _described(folder: Path, manifest: Manifest, card_sections: Sequence[str]) -> Manifest:
    write_manifest(folder, manifest)
    (folder / CARD_FILE).write_text(card.describe(manifest, card_sections), encoding="utf-8")
    return manifest


def _checked(
    model: Network,
    graph: onnx.ModelProto,
    checked: Sequence[agreement.Row],
    ranges: Sequence[Feed],
    say: Callable[[str], None],
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """The graph, in INT8 if there are texts for its ranges, and how well it agrees with what it was made from."""
    in_torch, in_float = agreement.torch_outputs(model, checked), agreement.graph_outputs(graph, checked)
    parity = agreement.compared(in_torch, in_float)
    difference = parity.get("largest_score_difference", 1.0 - parity.get("smallest_cosine", 1.0))
    if difference > MOST_FP32_DIFFERENCE:
        raise ModelError(
            f"the ONNX graph is off by {difference} from torch; at most {MOST_FP32_DIFFERENCE} is rounding"
        )
    figures: dict[str, Any] = {"parity": {"against": "PyTorch, FP32", "texts": len(checked), **parity}}
    say(f"ONNX against torch on {len(checked)} texts: {_said(parity)}")
    result, alone = graph, in_float
    if ranges:
        result = quantize.quantize(graph, calibration=ranges)
        alone = agreement.graph_outputs(result, checked)
        compared = agreement.compared(in_float, alone)
        figures["int8"] = {"against": "ONNX, FP32", "texts": len(checked), **compared}
        say(f"INT8 against FP32 on {len(checked)} texts: {_said(compared)}")
        if compared.get("label_agreement", 1.0) < LEAST_INT8_AGREEMENT:
            say(f"warning: INT8 changes more than {1 - LEAST_INT8_AGREEMENT:.0%} of the labels; fp32 does not")
    batched = agreement.compared(alone, agreement.batched_outputs(result, checked))
    figures["batch"] = {"against": "each text alone", "texts": len(checked), **batched}
    return result, figures


def _said(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in figures.items())


def _outputs(kinds: Sequence[ModelKind]) -> tuple[str, ...]:
    embedding = ("embedding",) if ModelKind.ENCODER in kinds else ()
    logits = ("logits",) if ModelKind.CLASSIFIER in kinds or ModelKind.NLI in kinds else ()
    return embedding + logits


def _manifest(draft: Draft, model: Network, precision: Precision, version: str) -> Manifest:
    is_encoder = ModelKind.ENCODER in draft.kind
    try:
        return Manifest(
            name=draft.name,
            version=version,
            kind=draft.kind,
            tasks=draft.tasks,
            labels=draft.labels,
            max_tokens=draft.max_tokens,
            long_text=draft.long_text,
            template=draft.template,
            description_template=draft.description_template,
            prefixes=draft.prefixes,
            entailment_index=draft.entailment_index,
            contradiction_index=draft.contradiction_index,
            pooling=Pooling.MEAN if is_encoder else Pooling.NONE,
            embedding_width=model.hidden if is_encoder else None,
            temperature=draft.temperature,
            quantization=quantize.STATIC_QUANTIZATION if precision == "int8" else "none",
            files={MODEL_FILE: _UNSIGNED, TOKENIZER_FILE: _UNSIGNED},
            source=draft.source,
            licence=draft.licence,
        )
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or 'model'}: {problem['msg']}"
            for problem in error.errors(include_url=False)
        )
        raise ModelError(f"{draft.name!r} makes no model folder: {problems}") from None


def _next_version(home: Path) -> str:
    taken = [int(path.name) for path in home.iterdir() if path.name.isdigit()] if home.is_dir() else []
    return str(max(taken, default=0) + 1)
