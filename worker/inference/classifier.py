"""A loaded model: texts and label sets in, scores for both tasks out, in one forward pass.

Puts tokenizer, windows, engine, sentiment and label scoring together. It holds no state between calls: who caches
prepared labels, and who retries, is the caller's matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from schemas.errors import InferenceError, ModelError
from schemas.labels import LabelSet
from schemas.manifest import MODEL_FILE, NEUTRAL_FILE, TOKENIZER_FILE, Manifest, ModelKind
from schemas.names import Stage, Task
from worker.inference.engine import EMBEDDING, LOGITS, Engine, Rows
from worker.inference.folder import check
from worker.inference.scores import Array, Scores, joined, ranked
from worker.inference.sentiment import probabilities
from worker.inference.tokenizer import IdArray, TextTokenizer
from worker.inference.windows import weights, windows
from worker.inference.zero_shot import EncoderScorer, LabelScorer, PreparedLabels, normalized, read_neutral

__all__ = ["Classifier", "Job", "PreparedLabels", "Result", "Scores"]

_EMBED_CHARS = 65_536
"""Characters embedded at once while labels are prepared: long examples must not stand in memory all together."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is asked about one text: its sentiment, its label among `labels`, or both."""

    text: str
    sentiment: bool
    labels: PreparedLabels | None
    multi_label: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What was found. `tokens`: of the text alone; `windows`: how many the text was cut into."""

    sentiment: Scores | None
    routing: Scores | None
    tokens: int
    windows: int


@dataclass(frozen=True, slots=True)
class _Cut:
    """Where the windows of one text lie among all windows of a call: rows `start` to `end`, and their weights."""

    start: int
    end: int
    tokens: int
    weights: list[int]


class Classifier:
    """Threads may share one: nothing in it changes after it is made."""

    def __init__(self, manifest: Manifest, tokenizer: TextTokenizer, engine: Engine, neutral: Array | None) -> None:
        """Raises ModelError if the parts do not fit the manifest; `load` is the usual way in."""
        for kind, output in ((ModelKind.CLASSIFIER, LOGITS), (ModelKind.ENCODER, EMBEDDING)):
            if kind in manifest.kind and output not in engine.outputs:
                raise ModelError(f"{manifest.id} is a {kind.value}, yet its graph has no output {output!r}")
        self.manifest = manifest
        self._tokenizer = tokenizer
        self._engine = engine
        self._scorer: LabelScorer | None = None
        if ModelKind.ENCODER in manifest.kind:
            self._scorer = EncoderScorer(manifest, self._embed, neutral)
        self._text_head = self._head(manifest.prefixes.text)
        self._check_shapes()

    @classmethod
    def load(cls, folder: Path, *, run_tokens: int, threads: int = 1) -> Classifier:
        """The model of a folder that passes every check of `folder.check`. Raises ModelError with the reason.

        `run_tokens`: padded tokens in one run. `threads`: of one run; slots beside it bring their own thread each.
        """
        manifest = check(folder)
        tokenizer = TextTokenizer.load(folder / TOKENIZER_FILE)
        engine = Engine(folder / MODEL_FILE, run_tokens=run_tokens, threads=threads, pad_id=tokenizer.pad_id)
        neutral = None
        if NEUTRAL_FILE in manifest.files and manifest.embedding_width:
            neutral = read_neutral(folder / NEUTRAL_FILE, manifest.embedding_width)
        return cls(manifest, tokenizer, engine, neutral)

    def prepare(self, labels: LabelSet, template: str | None = None) -> PreparedLabels:
        """Labels as this model reads them; work it out once and keep it. Raises ModelError if it cannot route."""
        if self._scorer is None or Task.ROUTING not in self.manifest.tasks:
            raise ModelError(
                f"{self.manifest.id} cannot score labels: its tasks are {', '.join(self.manifest.tasks)}, "
                f"its kind is {', '.join(self.manifest.kind)}"
            )
        return self._scorer.prepare(labels, template)

    def classify(self, jobs: Sequence[Job]) -> list[Result]:
        """Results in the order of `jobs`. A text's scores do not depend on the jobs beside it.

        Raises InferenceError; then nothing is known of any of the jobs.
        """
        if not jobs:
            return []
        if any(job.sentiment for job in jobs) and ModelKind.CLASSIFIER not in self.manifest.kind:
            raise InferenceError(f"{self.manifest.id} has no sentiment: it is {', '.join(self.manifest.kind)}")
        rows, cuts = self._forward([job.text for job in jobs], self._text_head)
        sentiments = self._sentiments(jobs, rows, cuts)
        routings = self._routings(jobs, rows, cuts)
        return [
            Result(sentiments.get(number), routings.get(number), cut.tokens, len(cut.weights))
            for number, cut in enumerate(cuts)
        ]

    def _sentiments(self, jobs: Sequence[Job], rows: dict[str, Rows], cuts: list[_Cut]) -> dict[int, Scores]:
        if not any(job.sentiment for job in jobs):
            return {}
        values = probabilities(rows[LOGITS], self.manifest.temperature.sentiment)
        return {
            number: ranked(self.manifest.labels, joined(values[cut.start : cut.end], cut.weights), Stage.CLASSIFIER)
            for number, cut in enumerate(cuts)
            if jobs[number].sentiment
        }

    def _routings(self, jobs: Sequence[Job], rows: dict[str, Rows], cuts: list[_Cut]) -> dict[int, Scores]:
        groups: dict[tuple[PreparedLabels, bool], list[int]] = {}
        for number, job in enumerate(jobs):
            if job.labels is not None:
                groups.setdefault((job.labels, job.multi_label), []).append(number)
        found: dict[int, Scores] = {}
        for (labels, multi_label), numbers in groups.items():
            assert self._scorer is not None  # noqa: S101 - only `prepare` makes labels, and it needs the scorer
            wanted = np.concatenate([np.arange(cuts[number].start, cuts[number].end) for number in numbers])
            values = self._scorer.probabilities(rows[EMBEDDING][wanted], labels, multi_label=multi_label)
            at = 0
            for number in numbers:
                cut = cuts[number]
                n_windows = len(cut.weights)
                found[number] = ranked(
                    labels.labels.names, joined(values[at : at + n_windows], cut.weights), self._scorer.stage
                )
                at += n_windows
        return found

    def _forward(self, texts: Sequence[str], head: IdArray) -> tuple[dict[str, Rows], list[_Cut]]:
        sequences: list[IdArray] = []
        cuts: list[_Cut] = []
        tail = self._tokenizer.tail
        for text, all_ids in zip(texts, self._tokenizer.encode(texts), strict=True):
            # Normalization unfolds a few characters into many (U+FDFA into 18); what a text may cost stays bounded.
            ids = all_ids[: max(self.manifest.max_tokens, len(text))]
            parts = windows(ids, head, tail, self.manifest.max_tokens)
            start = len(sequences)
            sequences.extend(parts)
            cuts.append(_Cut(start, len(sequences), len(ids), weights(parts, len(head) + len(tail))))
        return self._engine.run(sequences), cuts

    def _embed(self, texts: Sequence[str], prefix: str) -> Array:
        """Embeddings [texts, H] of length 1; of a long text the weighted mean of its windows."""
        head = self._head(prefix)
        found: list[Array] = []
        at = 0
        while at < len(texts):
            end, chars = at + 1, len(texts[at])
            while end < len(texts) and chars + len(texts[end]) <= _EMBED_CHARS:
                chars += len(texts[end])
                end += 1
            rows, cuts = self._forward(texts[at:end], head)
            values = rows[EMBEDDING].astype(np.float64)
            found.extend(joined(values[cut.start : cut.end], cut.weights) for cut in cuts)
            at = end
        return normalized(np.stack(found))

    def _head(self, prefix: str) -> IdArray:
        """Special tokens and prefix that stand before every window."""
        head = self._tokenizer.head
        if prefix:
            head = np.concatenate((head, self._tokenizer.encode([prefix])[0]))
        if len(head) + len(self._tokenizer.tail) >= self.manifest.max_tokens:
            raise ModelError(f"{self.manifest.id}: the prefix {prefix!r} leaves no room in {self.manifest.max_tokens}")
        return head

    def _check_shapes(self) -> None:
        """One run over a single token: a graph whose outputs have other shapes is refused now and not at work."""
        rows = self._engine.run([np.concatenate((self._text_head, self._tokenizer.tail))])
        expected = {LOGITS: len(self.manifest.labels), EMBEDDING: self.manifest.embedding_width}
        used = {LOGITS: ModelKind.CLASSIFIER, EMBEDDING: ModelKind.ENCODER}
        for name, values in rows.items():
            if used[name] in self.manifest.kind and values.shape != (1, expected[name]):
                raise ModelError(
                    f"{self.manifest.id}: {name} of one text has the shape {values.shape}, not (1, {expected[name]})"
                )
