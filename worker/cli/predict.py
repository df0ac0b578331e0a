"""`fenliu predict`: texts of a file or a pipe through the worker's own engine; no queue, no servers."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from schemas.errors import InferenceError, LabelsError, ModelError, SourceError
from schemas.fields import MAX_TEMPLATE_CHARS
from schemas.labels import LabelSet, parse_labels_text
from schemas.names import Task
from schemas.routes import read_labels_file
from schemas.settings import Settings, cpu_quota, load_settings
from worker.cli.texts import TextLine, read_texts

if TYPE_CHECKING:
    from worker.inference.classifier import Classifier, PreparedLabels, Scores

STDIN = "-"
_BAR_CELLS = 10
_RUNNERS_UP = 2


def predict(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="Plain lines, or JSON lines with a text.")] = STDIN,
    *,
    task: Annotated[
        Task | None, typer.Option(help="What to find out. Default: routing if labels are given, else sentiment.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="name or name/version. Default: the one in production.")] = None,
    labels: Annotated[str | None, typer.Option(help="Labels to route among: a,b,c")] = None,
    labels_file: Annotated[
        Path | None, typer.Option(help="Labels with descriptions, examples: YAML or JSON.", metavar="F")
    ] = None,
    multi_label: Annotated[
        bool, typer.Option("--multi-label", help="Score each label by itself: none or several may hold.")
    ] = False,
    template: Annotated[str | None, typer.Option(help="Put each label into this, where {} stands.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines on a terminal too; elsewhere always.")] = False,
) -> None:
    """Classify texts here and now.

    Prints one JSON object a line, in input order: text, label, score, scores, model, model_version. Blank lines are
    skipped. A line that holds no valid text is named on stderr, the others are classified, and the exit code is 1.
    """
    task = task or (Task.ROUTING if labels is not None or labels_file else Task.SENTIMENT)
    label_set = _label_set(task, labels, labels_file, multi_label=multi_label, template=template)
    with ExitStack() as closing:
        stream = _open(file, closing)
        settings = load_settings()
        classifier = _load(settings, model, task)
        prepared = classifier.prepare(label_set, template) if label_set else None
        if file == STDIN and sys.stdin.isatty():
            typer.echo("one text a line; end with Ctrl-D", err=True)
        show = _show_json if as_json or not sys.stdout.isatty() else _show_bars
        n_bad = 0
        for lines in _chunks(stream, settings):
            found = _classify(classifier, lines, prepared, multi_label=multi_label)
            show(classifier, [(line, scores) for line, scores in found if not isinstance(scores, str)])
            for line, problem in found:
                if isinstance(problem, str):
                    typer.echo(f"error: line {line.line}: {problem}", err=True)
                    n_bad += 1
    if n_bad:
        raise typer.Exit(1)


def _label_set(
    task: Task, labels: str | None, labels_file: Path | None, *, multi_label: bool, template: str | None
) -> LabelSet | None:
    if task is Task.SENTIMENT:
        if labels is not None or labels_file or multi_label or template is not None:
            raise typer.BadParameter("labels, --multi-label and --template are for --task routing", param_hint="--task")
        return None
    if template is not None and (template.count("{}") != 1 or len(template) > MAX_TEMPLATE_CHARS):
        raise typer.BadParameter(
            f"must hold {{}} once, where the label goes, in at most {MAX_TEMPLATE_CHARS} characters",
            param_hint="--template",
        )
    if labels is not None and labels_file:
        raise typer.BadParameter("give --labels or --labels-file, not both", param_hint="--labels")
    if labels_file:
        return read_labels_file(labels_file)
    if labels is None:
        raise typer.BadParameter(
            "routing needs labels: add --labels a,b,c or --labels-file teams.yaml", param_hint="--labels"
        )
    try:
        return parse_labels_text(labels)
    except LabelsError as error:
        raise typer.BadParameter(str(error), param_hint="--labels") from None


def _open(file: str, closing: ExitStack) -> BufferedReader:
    if file == STDIN:
        return cast(BufferedReader, sys.stdin.buffer)
    path = Path(file)
    if not path.is_file() and not path.is_fifo():
        raise typer.BadParameter(f"{file} is no file", param_hint="FILE")
    if path.suffix.lower() in {".csv", ".tsv", ".parquet", ".gz"}:
        raise typer.BadParameter(
            f'{file}: predict reads plain lines, or JSON lines such as {{"text": "…"}}; convert it first',
            param_hint="FILE",
        )
    try:
        return closing.enter_context(path.open("rb"))
    except OSError as error:
        raise SourceError(f"{file}: {error.strerror or error}") from error


def _load(settings: Settings, model: str | None, task: Task) -> Classifier:
    from worker.inference.classifier import Classifier
    from worker.inference.folder import find, model_homes

    folder = find(model or settings.model, model_homes(settings.models_home))
    classifier = Classifier.load(
        folder, run_tokens=settings.run_tokens, threads=cpu_quota(), provider=settings.provider
    )
    if task not in classifier.manifest.tasks:
        tasks = ", ".join(classifier.manifest.tasks)
        raise ModelError(f"{classifier.manifest.id} does not do {task.value}; it does {tasks}")
    return classifier


def _chunks(stream: BufferedReader, settings: Settings) -> Iterator[list[TextLine]]:
    """What has arrived, in parts of at most a batch."""
    for lines in read_texts(stream):
        chunk: list[TextLine] = []
        n_chars = 0
        for line in lines:
            if chunk and (len(chunk) == settings.batch_entries or n_chars + len(line.text) > settings.batch_chars):
                yield chunk
                chunk, n_chars = [], 0
            chunk.append(line)
            n_chars += len(line.text)
        yield chunk


def _classify(
    classifier: Classifier, lines: Sequence[TextLine], labels: PreparedLabels | None, *, multi_label: bool
) -> list[tuple[TextLine, Scores | str]]:
    """Scores of each line, or what is wrong with it."""
    from worker.inference.classifier import Job

    good = [line for line in lines if not line.problem]
    try:
        results = iter(
            classifier.classify([Job(line.text, labels is None, labels, multi_label=multi_label) for line in good])
        )
    except InferenceError as error:
        if len(lines) == 1:
            return [(lines[0], str(error))]
        alone = [_classify(classifier, [line], labels, multi_label=multi_label) for line in lines]
        return [found for part in alone for found in part]
    found: list[tuple[TextLine, Scores | str]] = []
    for line in lines:
        result = None if line.problem else next(results)
        scores = result and (result.routing if labels else result.sentiment)
        found.append((line, scores or line.problem))
    return found


def _show_json(classifier: Classifier, found: Sequence[tuple[TextLine, Scores]]) -> None:
    manifest = classifier.manifest
    for line, scores in found:
        result = {
            "text": line.text,
            "label": scores.label,
            "score": scores.score,
            "scores": scores.scores,
            "model": manifest.name,
            "model_version": manifest.version,
        }
        # Bytes: JSON lines are UTF-8 whatever the terminal's locale is.
        sys.stdout.buffer.write(json.dumps(result, ensure_ascii=False).encode() + b"\n")
    sys.stdout.buffer.flush()


def _show_bars(classifier: Classifier, found: Sequence[tuple[TextLine, Scores]]) -> None:  # noqa: ARG001
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for line, scores in found:
        full = round(scores.score * _BAR_CELLS)
        others = list(scores.scores.items())[1 : 1 + _RUNNERS_UP]
        shown = Text.assemble(
            (f"{scores.score:.3f} ", "bold"),
            ("█" * full, "green" if scores.score >= 0.5 else "yellow"),
            ("░" * (_BAR_CELLS - full) + " ", "dim"),
            (scores.label, "bold cyan"),
            ("".join(f", {label} {score:.2f}" for label, score in others), "dim"),
            "  " + " ".join(line.text.split()),
        )
        console.print(shown, no_wrap=True, overflow="ellipsis")
