"""One evaluation from the model's folder to the report: load, ask, work out, write down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from schemas.errors import LabelsError, ModelError
from schemas.labels import LabelSet
from schemas.names import Task
from training import machine
from training.data_files import Columns
from training.evaluating import files, record
from training.evaluating.asking import Latency, ask, time_alone
from training.evaluating.data import Data, read
from training.evaluating.figures import TriageRule, figures
from worker.inference.classifier import Classifier

_PACKAGES = ("numpy", "onnxruntime", "tokenizers")
_MODEL_ONLY = frozenset(["model", "name", "labels", "confusion"])
"""What a report says and the model's manifest need not say again."""


@dataclass(frozen=True)
class Question:
    """What is asked. `teams`: route among these; None: the model's own labels. `threshold`, `margin`: of triage."""

    data: Path
    columns: Columns
    encoding: str
    mapping: Mapping[str, str]
    teams: LabelSet | None
    template: str | None
    threshold: float
    margin: float


@dataclass(frozen=True)
class Place:
    """Where the result goes: the folder `out`, and if wished the model's manifest and card, under `name`."""

    name: str
    out: Path
    write_metrics: bool


def evaluate_model(
    folder: Path,
    question: Question,
    place: Place,
    *,
    run_tokens: int,
    threads: int,
    latency_texts: int,
    on_texts: Callable[[int, int], None],
) -> tuple[dict[str, Any], str]:
    """The report as data and as text; both are written to the place, too.

    Raises ModelError for a model that cannot answer the question, SourceError for bad data, LabelsError for bad teams.
    """
    model = Classifier.load(folder, run_tokens=run_tokens, threads=threads)
    labels = _labels(model, question)
    data = read(question.data, labels, question.columns, question.mapping, encoding=question.encoding)
    prepared = model.prepare(question.teams, question.template) if question.teams else None
    texts = data.texts
    answers = ask(model, texts, labels, prepared, lambda done: on_texts(done, len(texts)))
    alone_ms = time_alone(model, texts, prepared, latency_texts)
    latency = Latency(threads, run_tokens, len(texts), float(answers.tokens.mean()), answers.batches_s, alone_ms)
    at = {label: number for number, label in enumerate(labels)}
    expected = np.array([at[row.label] for row in data.rows], np.intp)
    rule = TriageRule(question.teams, question.threshold, question.margin) if question.teams else None
    found = figures(expected, answers, labels, rule)
    report = {
        "model": model.manifest.id,
        "name": place.name,
        **_asked(question, data, labels),
        **found.as_json(),
        "latency": latency.as_json(),
        "machine": machine.described(_PACKAGES),
    }
    files.write(place.out, report, figures=found, expected=expected, answers=answers, data=data)
    if place.write_metrics:
        record.record(folder, place.name, {key: value for key, value in report.items() if key not in _MODEL_ONLY})
    return report, found.as_text() + "\n" + _said(latency)


def _labels(model: Classifier, question: Question) -> tuple[str, ...]:
    if question.teams is None:
        if Task.SENTIMENT not in model.manifest.tasks:
            raise ModelError(
                f"{model.manifest.id} has no labels of its own; give those to route among: --labels-file teams.yaml"
            )
        return model.manifest.labels
    if len(question.teams.names) < 2:
        raise LabelsError("routing is evaluated among two labels at least")
    return question.teams.names


def _asked(question: Question, data: Data, labels: tuple[str, ...]) -> dict[str, Any]:
    return {
        "task": (Task.ROUTING if question.teams else Task.SENTIMENT).value,
        "data": {"file": data.path.name, "sha256": data.sha256, "rows": len(data.rows), "map": dict(data.mapping)},
        "labels": list(labels),
        **({"template": question.template} if question.template else {}),
    }


def _said(latency: Latency) -> str:
    values = latency.as_json()
    alone, batches = values["alone"], values["batches"]
    lines = [
        f"{batches['texts_per_s']} texts/s in batches of {batches['batch_texts']}, {values['threads']} threads, "
        f"{values['mean_tokens']} tokens a text"
    ]
    if alone["texts"]:
        lines.append(
            f"one text alone: p50 {alone['p50_ms']} ms, p95 {alone['p95_ms']} ms, p99 {alone['p99_ms']} ms "
            f"({alone['texts']} texts)"
        )
    return "\n".join(lines) + "\n"
