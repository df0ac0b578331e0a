"""The model card of any manifest: what the model is, where it comes from, what was checked and measured.

Only what the manifest says; the default model's recipe has more to tell and does so in `training.default_card`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from schemas.manifest import LongText, Manifest, ModelKind
from schemas.names import Task

_CHECKS = {
    "transformers": "the network against transformers' own",
    "parity": "ONNX (FP32) against PyTorch",
    "tokens": "token ids against the checkpoint's own tokenizer",
    "int8": "INT8 against FP32",
    "batch": "in a batch against alone",
}
_FIGURES = ("accuracy", "macro_f1", "calibration_error", "texts")


def describe(manifest: Manifest, sections: Sequence[str] = ()) -> str:
    """The card in Markdown; `sections` (Markdown too) stand before the format."""
    parts = [
        f"# {manifest.id}",
        _what(manifest),
        f"## Source\n\n{manifest.source.description}. Licence of the source: {manifest.source.licence}; "
        f"of this model: {manifest.licence}." + (f"\n\n{manifest.source.url}" if manifest.source.url else ""),
        _checked(manifest.metrics),
        _measured(manifest.metrics),
        *sections,
        _format(manifest),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _what(manifest: Manifest) -> str:
    lines = []
    if ModelKind.CLASSIFIER in manifest.kind:
        what = "Sentiment" if Task.SENTIMENT in manifest.tasks else "Classification"
        lines.append(f"{what} by a classification head; labels in logit order: {_names(manifest.labels)}.")
    if ModelKind.NLI in manifest.kind:
        lines.append(
            "Routing among any labels, each put to the model as a hypothesis beside the text: one run per label. "
            f"Entailment is logit {manifest.entailment_index}, contradiction logit {manifest.contradiction_index}; "
            f"the hypothesis of a bare label is `{manifest.template}`."
        )
    if ModelKind.ENCODER in manifest.kind:
        lines.append(
            "Sentence embeddings (the mean over tokens): routing among any labels in one run, whatever their number."
        )
    if ModelKind.CASCADE in manifest.kind and manifest.cascade:
        lines.append(
            f"Two models: {manifest.cascade.encoder} picks {manifest.cascade.keep_labels} labels, "
            f"{manifest.cascade.pair} decides among them."
        )
    return " ".join(lines)


def _checked(metrics: Mapping[str, Any]) -> str:
    rows = [
        f"| {name} | {_spelled(figures)} |"
        for key, name in _CHECKS.items()
        if isinstance(figures := metrics.get(key), Mapping)
    ]
    return "## Checked\n\n| what | figures |\n| --- | --- |\n" + "\n".join(rows) if rows else ""


def _spelled(figures: Mapping[str, Any]) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in figures.items() if key != "against")


def _measured(metrics: Mapping[str, Any]) -> str:
    rows = [
        f"| {name} | " + " | ".join(_figure(report.get(figure)) for figure in _FIGURES) + " |"
        for name, report in _reports(metrics)
    ]
    if not rows:
        return "## Measured\n\nNothing yet: `fenliu train evaluate` measures it on your own labelled texts."
    head = " | ".join(figure.replace("_", " ") for figure in _FIGURES)
    return f"## Measured\n\n| data | {head} |\n|{' --- |' * (len(_FIGURES) + 1)}\n" + "\n".join(rows)


def _reports(metrics: Mapping[str, Any], name: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every group of figures that has an accuracy, however deep, with the name of its data."""
    if name and "accuracy" in metrics:
        yield name, metrics
    for key, value in metrics.items():
        if isinstance(value, Mapping) and key not in _CHECKS:
            yield from _reports(value, f"{name}.{key}" if name else str(key))


def _figure(value: object) -> str:
    return "-" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)


def _format(manifest: Manifest) -> str:
    integers = (
        " Weights and activations are INT8, with scales that no other text has a part in: a text's scores do not "
        "depend on what it is grouped with."
    )
    long_text = "cut off, as ModelScope does" if manifest.long_text is LongText.TRUNCATE else "read in windows"
    return (
        f"## Format\n\n`model.onnx` takes at most {manifest.max_tokens} tokens; what is longer is {long_text}."
        f"{integers if manifest.quantization.startswith('int8') else ' Weights are FP32.'} "
        "`tokenizer.json` matches no special token in text. `torch/` holds the FP32 weights to train on from; the "
        "worker does not need it."
    )


def _names(labels: Sequence[str]) -> str:
    return ", ".join(f"`{label}`" for label in labels)
