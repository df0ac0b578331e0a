"""A loaded model, or a cascade of two: texts and label sets in, scores for both tasks out.

Puts models, sentiment and label scoring together. It holds no state between calls: who caches prepared labels, and who
retries, is the caller's matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from schemas.errors import InferenceError, ModelError
from schemas.labels import LabelSet
from schemas.manifest import NEUTRAL_FILE, Cascade, Manifest, ModelKind
from schemas.names import Stage, Task
from worker.inference.batch import TextBatch
from worker.inference.cascade import CascadeScorer
from worker.inference.encoder import EncoderScorer, read_neutral
from worker.inference.engine import LOGITS
from worker.inference.folder import check, parts
from worker.inference.model import Model
from worker.inference.pair import PairScorer
from worker.inference.providers import CPU
from worker.inference.run_tally import RunTally
from worker.inference.scores import Scores, ranked
from worker.inference.sentiment import probabilities
from worker.inference.tokenizer import IdArray
from worker.inference.zero_shot import LabelScorer, PreparedLabels

__all__ = ["Classifier", "Job", "PreparedLabels", "Result", "Scores"]


# A named tuple: a frozen dataclass takes four times as long to make, and every text is one.
class Job(NamedTuple):
    """What is asked about one text: its sentiment, its label among `labels`, or both.

    `ids`: its tokens, if this classifier's `encode` has given them already. `explain`: whether the votes of a long
    text's windows are wanted too.
    """

    text: str
    sentiment: bool
    labels: PreparedLabels | None
    multi_label: bool = False
    ids: IdArray | None = None
    explain: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What was found. `tokens`: of the text alone; `windows`: the most that it was cut into."""

    sentiment: Scores | None
    routing: Scores | None
    tokens: int
    windows: int


class Classifier:
    """Threads may share one: nothing in it changes after it is made."""

    def __init__(self, manifest: Manifest, model: Model, scorer: LabelScorer[Any] | None) -> None:
        """`model` finds the sentiment, if any does; `scorer` scores labels. `load` is the usual way in."""
        self.manifest = manifest
        self._model = model
        self._scorer = scorer

    @classmethod
    def load(
        cls, folder: Path, *, run_tokens: int, threads: int = 1, tally: RunTally | None = None, provider: str = CPU
    ) -> Classifier:
        """The model of a folder that passes every check of `folder.check`. Raises ModelError with the reason.

        `run_tokens`: padded tokens in one run. `threads`: of one run; slots beside it bring their own thread each.
        `tally` counts the runs. `provider` is one of `worker.inference.providers`.
        """
        manifest = check(folder)
        load = partial(Model.load, run_tokens=run_tokens, threads=threads, tally=tally, provider=provider)
        try:
            return cls._load(folder, manifest, load)
        except InferenceError as error:  # every part is tried once as it is loaded
            raise ModelError(f"{manifest.id}: cannot classify anything: {error}") from error

    @classmethod
    def _load(cls, folder: Path, manifest: Manifest, load: Callable[[Path, Manifest], Model]) -> Classifier:
        if manifest.cascade:
            return cls._load_cascade(folder, manifest, manifest.cascade, load)
        model = load(folder, manifest)
        scorer: LabelScorer[Any] | None = None
        if ModelKind.ENCODER in manifest.kind:
            scorer = _encoder_scorer(folder, model)
        elif ModelKind.NLI in manifest.kind:
            scorer = PairScorer(model)
        return cls(manifest, model, scorer)

    @classmethod
    def _load_cascade(
        cls, folder: Path, manifest: Manifest, cascade: Cascade, load: Callable[[Path, Manifest], Model]
    ) -> Classifier:
        encoder_folder, pair_folder = parts(folder, cascade)
        encoder, pair = (load(part, check(part)) for part in (encoder_folder, pair_folder))
        own = encoder.manifest
        if Task.SENTIMENT in manifest.tasks and (Task.SENTIMENT not in own.tasks or manifest.labels != own.labels):
            raise ModelError(f"{manifest.id}: its sentiment is not that of its encoder {own.id}: {own.labels}")
        scorer = CascadeScorer(_encoder_scorer(encoder_folder, encoder), PairScorer(pair), cascade.keep_labels)
        return cls(manifest, encoder, scorer)

    def prepare(self, labels: LabelSet, template: str | None = None) -> PreparedLabels:
        """Labels as this model reads them; work it out once and keep it.

        Raises ModelError if it cannot route, LabelsError for a label that it cannot read.
        """
        if self._scorer is None or Task.ROUTING not in self.manifest.tasks:
            raise ModelError(
                f"{self.manifest.id} cannot score labels: its tasks are {', '.join(self.manifest.tasks)}, "
                f"its kind is {', '.join(self.manifest.kind)}"
            )
        prepared: PreparedLabels = self._scorer.prepare(labels, template)
        return prepared

    def encode(self, texts: Sequence[str]) -> list[IdArray]:
        """Token ids of each text, for those who want to know how long it is before they ask. Raises InferenceError."""
        return self._model.encode(texts) if texts else []

    def classify(self, jobs: Sequence[Job], on_progress: Callable[[], None] = lambda: None) -> list[Result]:
        """Results in the order of `jobs`. A text's scores do not depend on the jobs beside it.

        `on_progress` is called now and then while there is much to do. Raises InferenceError; then nothing is known of
        any of the jobs.
        """
        if not jobs:
            return []
        if any(job.sentiment for job in jobs) and ModelKind.CLASSIFIER not in self._model.manifest.kind:
            raise InferenceError(f"{self.manifest.id} has no sentiment: it is {', '.join(self.manifest.kind)}")
        explained = {number for number, job in enumerate(jobs) if job.explain}
        batch = TextBatch([job.text for job in jobs], on_progress, explained)
        batch.know(self._model, {number: job.ids for number, job in enumerate(jobs) if job.ids is not None})
        sentiments = self._sentiments(jobs, batch)
        routings = self._routings(jobs, batch)
        tokens = [len(ids) for ids in batch.ids(self._model, range(len(jobs)))]
        return [
            Result(sentiments.get(number), routings.get(number), tokens[number], batch.windows[number])
            for number in range(len(jobs))
        ]

    def _sentiments(self, jobs: Sequence[Job], batch: TextBatch) -> dict[int, Scores]:
        wanted = [number for number, job in enumerate(jobs) if job.sentiment]
        if not wanted:
            return {}
        done = batch.passed(self._model)
        values = probabilities(done.rows[LOGITS], self._model.manifest.temperature.sentiment)
        labels = self._model.manifest.labels
        found = {}
        for number in wanted:
            cut = done.cuts[number]
            rows = values[cut.start : cut.end]
            batch.vote(number, Stage.CLASSIFIER, self._model, room_tokens=cut.weights[0], names=labels, rows=rows)
            found[number] = _with_votes(ranked(labels, cut.joined(values), Stage.CLASSIFIER), batch, number)
        return found

    def _routings(self, jobs: Sequence[Job], batch: TextBatch) -> dict[int, Scores]:
        groups: dict[tuple[PreparedLabels, bool], list[int]] = {}
        for number, job in enumerate(jobs):
            if job.labels is not None:
                groups.setdefault((job.labels, job.multi_label), []).append(number)
        found: dict[int, Scores] = {}
        for (labels, multi_label), numbers in groups.items():
            assert self._scorer is not None  # noqa: S101 - only `prepare` makes labels, and it needs the scorer
            scores = self._scorer.scores(batch, numbers, labels, multi_label=multi_label)
            for number, own in zip(numbers, scores, strict=True):
                found[number] = _with_votes(own, batch, number)
        return found


def _with_votes(scores: Scores, batch: TextBatch, number: int) -> Scores:
    """Scores of a text with the votes of its windows on the part of the model that decided."""
    votes = batch.votes(number, scores.stage)
    return replace(scores, votes=votes) if votes else scores


def _encoder_scorer(folder: Path, model: Model) -> EncoderScorer:
    manifest = model.manifest
    if ModelKind.ENCODER not in manifest.kind or manifest.embedding_width is None:
        raise ModelError(f"{manifest.id} is no encoder: its kind is {', '.join(manifest.kind)}")
    neutral = None
    if NEUTRAL_FILE in manifest.files:
        neutral = read_neutral(folder / NEUTRAL_FILE, manifest.embedding_width)
    return EncoderScorer(model, neutral)
