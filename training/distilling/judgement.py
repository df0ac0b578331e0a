"""What a student is worth beside its teacher: size, speed and accuracy of both, served alike, in the same run.

Speed and answers are found through `worker.inference`. The texts that both are judged by chose the student's epoch, by
its loss and not by its accuracy; figures that owe nothing to them need a file of their own and `fenliu train evaluate`.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from schemas.labels import label_set
from schemas.manifest import (
    CARD_FILE,
    MODEL_FILE,
    NEUTRAL_FILE,
    TOKENIZER_FILE,
    Calibration,
    Manifest,
    ModelKind,
    read_manifest,
    sha256_of,
    write_manifest,
)
from training import card, machine
from training.classification_report import report
from training.distilling.data import Data
from training.distilling.matching import (
    RUN_TOKENS,
    RoutingMatch,
    centred,
    match_routing,
    nearest_temperature,
    stand_ins,
)
from training.distilling.teacher import Teacher
from training.evaluation import CHUNK_TEXTS
from training.finetuning.judgement import CURVES_FILE, REPORT_FILE, cross_fitted, served_logits
from training.finetuning.split import halves
from training.history import epoch_curve, train_curve
from training.loop import Say
from training.model_folder import NEUTRAL_TEXTS_FILE
from training.plots import Curve, curves_png
from worker.inference.classifier import Classifier, Job, PreparedLabels
from worker.inference.model import Model
from worker.inference.scores import softmax

METRICS = "distillation"
LEAST_LABELLED = 10
_TIMED_TEXTS = 512
_ROUNDS = 5
_SCRATCH_LABELS = label_set(["好", "坏"])


class Judge:
    """Completes a student's folder: centre, temperatures, figures beside those of its teacher, report and curves."""

    def __init__(
        self, teacher: Teacher, served: Path, data: Data, made: dict[str, Any], *, seed: int, say: Say
    ) -> None:
        self.teacher, self.served, self.data, self.made = teacher, served, data, made
        self.seed, self.say = seed, say
        self.threads = torch.get_num_threads()
        self.eval_texts = [row.text for row in data.eval_rows]
        self.labelled = [row for row in data.eval_rows if row.label]

    def finish(self, folder: Path) -> None:
        """Writes into a folder that is not yet in its place."""
        manifest, teacher_manifest = read_manifest(folder), read_manifest(self.served)
        figures: dict[str, Any] = {"teacher": self.teacher.base.name}
        if self.teacher.is_encoder:
            manifest = self._centre(folder, manifest)
            match = self._routing(folder, manifest, teacher_manifest)
            if match:
                figures |= {"routing_agreement": match.agreement, "similarity_correlation": match.correlation}
                manifest = manifest.model_copy(update={"temperature": match.calibration})
        if self.teacher.is_classifier:
            found, temperature = self._sentiment(folder)
            figures |= found
            given = manifest.temperature.model_copy(update={"sentiment": round(temperature, 4)})
            manifest = manifest.model_copy(update={"temperature": given})
        write_manifest(folder, manifest)
        figures |= self._costs(folder)
        self.say(_said(figures))
        self._write(folder, manifest, figures)

    def _centre(self, folder: Path, manifest: Manifest) -> Manifest:
        texts = self.teacher.neutral_texts()
        if not texts:
            return manifest
        model = Model.load(folder, manifest, run_tokens=RUN_TOKENS, threads=self.threads)
        mean = model.embed(texts, manifest.prefixes.text).mean(axis=0)
        np.save(folder / NEUTRAL_FILE, mean.astype(np.float32)[None, :])
        (folder / NEUTRAL_TEXTS_FILE).write_text("\n".join(texts) + "\n", encoding="utf-8")
        return _with_files(folder, manifest, NEUTRAL_FILE, NEUTRAL_TEXTS_FILE)

    def _routing(self, folder: Path, manifest: Manifest, teacher: Manifest) -> RoutingMatch | None:
        given = stand_ins(self.eval_texts, self.seed)
        if given is None:
            return None
        theirs = centred(self.served, teacher, given, self.threads)
        ours = centred(folder, manifest, given, self.threads)
        return match_routing(theirs, ours, given.sets, self._calibration())

    def _calibration(self) -> Calibration:
        return self.teacher.manifest.temperature if self.teacher.manifest else Calibration()

    def _sentiment(self, folder: Path) -> tuple[dict[str, Any], float]:
        """Figures of both, and the student's temperature: fitted on labels if there are enough, else matched."""
        given, labels = self._calibration().sentiment, self.data.labels
        theirs = served_logits(self.served, self.eval_texts, labels) * read_manifest(self.served).temperature.sentiment
        ours = served_logits(folder, self.eval_texts, labels)
        figures: dict[str, Any] = {
            "texts": len(self.eval_texts),
            "agreement": round(float((theirs.argmax(1) == ours.argmax(1)).mean()), 4),
        }
        matched = nearest_temperature([softmax(theirs / given)], [ours], given)
        if len(self.labelled) < LEAST_LABELLED:
            return figures, matched
        at = np.array([number for number, row in enumerate(self.data.eval_rows) if row.label])
        expected = np.array([labels.index(row.label) for row in self.labelled])
        fitted, error = cross_fitted(ours[at], expected, halves(self.labelled, self.seed))
        parts = {
            "teacher_on_eval_part": report(expected, softmax(theirs[at] / given), labels),
            "student_on_eval_part": report(expected, softmax(ours[at] / fitted), labels),
        }
        for name, one in parts.items():
            figures[name] = {"texts": one.texts, "accuracy": one.accuracy, "macro_f1": one.macro_f1}
        figures["teacher_on_eval_part"]["calibration_error"] = parts["teacher_on_eval_part"].calibration_error
        figures["student_on_eval_part"]["calibration_error"] = error
        accuracy = {name: one.accuracy for name, one in parts.items()}
        kept = accuracy["student_on_eval_part"] / max(accuracy["teacher_on_eval_part"], 1e-9)
        return figures | {"accuracy_kept": round(kept, 4)}, fitted

    def _costs(self, folder: Path) -> dict[str, Any]:
        """Sizes and speeds. Both models take turns, so that what else the machine does meets both."""
        models = [Classifier.load(one, run_tokens=RUN_TOKENS, threads=self.threads) for one in (self.served, folder)]
        prepared = [self._prepared(model) for model in models]
        texts = self.eval_texts[:_TIMED_TEXTS]
        times: list[list[float]] = [[], []]
        for turn in range(_ROUNDS + 1):
            for number, model in enumerate(models):
                begun = time.perf_counter()
                _classify(model, texts, prepared[number])
                if turn:  # the first warms up
                    times[number].append(time.perf_counter() - begun)
        sizes = [_bytes(one) for one in (self.served, folder)]
        speeds = [len(texts) / statistics.median(one) for one in times]
        return {
            "teacher_precision": read_manifest(self.served).quantization,
            "student_precision": read_manifest(folder).quantization,
            "teacher_bytes": sizes[0],
            "student_bytes": sizes[1],
            "smaller": round(1 - sizes[1]["all"] / sizes[0]["all"], 4),
            "teacher_texts_per_s": round(speeds[0], 1),
            "student_texts_per_s": round(speeds[1], 1),
            "faster": round(speeds[1] / speeds[0], 2),
            "timed": {"texts": len(texts), "rounds": _ROUNDS, "threads": self.threads, "run_tokens": RUN_TOKENS},
        }

    def _prepared(self, model: Classifier) -> PreparedLabels | None:
        return None if ModelKind.CLASSIFIER in model.manifest.kind else model.prepare(_SCRATCH_LABELS)

    def _write(self, folder: Path, manifest: Manifest, figures: dict[str, Any]) -> None:
        metrics = {**manifest.metrics, METRICS: figures}
        whole = {**self.made, "machine": machine.described(("onnxruntime", "torch")), "metrics": metrics}
        history = self.made["history"]
        (folder / REPORT_FILE).write_text(json.dumps(whole, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        (folder / CURVES_FILE).write_bytes(curves_png(panels(history), history["best_epoch"]))
        manifest = _with_files(folder, manifest.model_copy(update={"metrics": metrics}), REPORT_FILE, CURVES_FILE)
        write_manifest(folder, manifest)
        (folder / CARD_FILE).write_text(card.describe(manifest, [_section(figures)]), encoding="utf-8")


def panels(history: dict[str, Any]) -> dict[str, dict[str, Curve]]:
    """The learning curves: losses, and likeness to the teacher on the eval part."""
    scores = {name: epoch_curve(history, name) for name in ("agreement", "accuracy", "cosine")}
    return {
        "Loss": {"train": train_curve(history), "eval": epoch_curve(history, "loss")},
        "Eval part": {name: curve for name, curve in scores.items() if curve},
    }


def _classify(model: Classifier, texts: list[str], prepared: PreparedLabels | None) -> None:
    for start in range(0, len(texts), CHUNK_TEXTS):
        model.classify([Job(text, prepared is None, prepared) for text in texts[start : start + CHUNK_TEXTS]])


def _bytes(folder: Path) -> dict[str, int]:
    """What the worker needs of a folder: the graph and the tokenizer."""
    parts = {"graph": (folder / MODEL_FILE).stat().st_size, "tokenizer": (folder / TOKENIZER_FILE).stat().st_size}
    return parts | {"all": sum(parts.values())}


def _with_files(folder: Path, manifest: Manifest, *names: str) -> Manifest:
    files = {**manifest.files, **{name: sha256_of(folder / name) for name in names}}
    manifest = manifest.model_copy(update={"files": files})
    write_manifest(folder, manifest)
    return manifest


def _said(figures: dict[str, Any]) -> str:
    parts = [f"{figures['smaller']:.1%} smaller", f"{figures['faster']:.2f} times as fast"]
    if "accuracy_kept" in figures:
        parts.append(f"{figures['accuracy_kept']:.1%} of the accuracy kept")
    if "agreement" in figures:
        parts.append(f"the same label on {figures['agreement']:.1%} of the texts")
    if "routing_agreement" in figures:
        parts.append(f"routing agrees on {figures['routing_agreement']:.1%}")
    return "beside its teacher: " + ", ".join(parts)


def _section(figures: dict[str, Any]) -> str:
    size = {who: figures[f"{who}_bytes"]["all"] / 1e6 for who in ("teacher", "student")}
    return (
        f"## Distillation\n\nLearned from `{figures['teacher']}`; {_said(figures)}. Both served alike "
        f"({figures['student_precision']}), in one run: {size['student']:.1f} MB against {size['teacher']:.1f} MB, "
        f"{figures['student_texts_per_s']} texts/s against {figures['teacher_texts_per_s']} on "
        f"{figures['timed']['threads']} thread(s). `report.json` has the rest."
    )
