"""The pair way to score labels: does the text entail the sentence that a label stands for?

As ModelScope's zero-shot StructBERT (and Yin et al., "Benchmarking Zero-shot Text Classification", 2019): one sequence
per text and label, `[CLS] text [SEP] hypothesis [SEP]`. Its cost grows with the number of labels. Which texts are long
and how pairs are cut is decided here, which pairs run together by the engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from schemas.errors import LabelsError, ModelError
from schemas.labels import LabelSet
from schemas.manifest import LongText, ModelKind
from schemas.names import Stage
from worker.inference.batch import TextBatch
from worker.inference.engine import LOGITS, Rows
from worker.inference.model import Model
from worker.inference.scores import Array, Scores, joined, ranked, sigmoid, softmax
from worker.inference.tokenizer import IdArray, PairForm
from worker.inference.windows import kept, spans
from worker.inference.zero_shot import PreparedLabels, label_text

Chosen = npt.NDArray[np.intp]

SLICE_TOKENS = 32_768
"""Tokens of the pairs that stand in memory at once: enough for runs of like length, a few seconds of work."""

LEAST_TEXT_SHARE = 4
"""A hypothesis must leave one part in this many of the model's tokens to the text, or windows would be countless."""


@dataclass(frozen=True, slots=True, eq=False)
class PairLabels(PreparedLabels):
    """`hypotheses`: token ids of each label's sentence. `room_tokens`: what the longest one leaves to the text."""

    hypotheses: tuple[IdArray, ...]
    room_tokens: int


@dataclass(frozen=True, slots=True)
class _Window:
    """Tokens `start` to `end` of a text, to be paired with the labels `chosen`; its first pair's row is `row`."""

    ids: IdArray
    chosen: Chosen
    row: int


class PairScorer:
    """Entailment of each label's hypothesis, calibrated; with temperatures of 1 exactly ModelScope's scores."""

    def __init__(self, model: Model) -> None:
        """Raises ModelError if the model is none for pairs."""
        manifest = model.manifest
        form = model.tokenizer.pair_form
        if ModelKind.NLI not in manifest.kind or manifest.entailment_index is None:
            raise ModelError(f"{manifest.id} is no nli model: its kind is {', '.join(manifest.kind)}")
        if form is None:
            raise ModelError(f"{manifest.id}: its tokenizer puts nothing between the two texts of a pair")
        self._model = model
        self._form: PairForm = form
        self._head = np.concatenate((form.head, model.head(manifest.prefixes.text)[len(model.tokenizer.head) :]))
        self._columns = [manifest.entailment_index, manifest.contradiction_index or 0]
        nothing = self._pair(np.array([], dtype=np.int32), np.array([], dtype=np.int32))
        width = model.engine.run([nothing[0]], [nothing[1]])[LOGITS].shape[1]
        if max(self._columns) >= width:
            raise ModelError(f"{manifest.id}: has {width} logits, so none with the index {max(self._columns)}")

    def prepare(self, labels: LabelSet, template: str | None) -> PairLabels:
        """Tokenizes every hypothesis once. Raises LabelsError for one that leaves the text no room."""
        manifest = self._model.manifest
        texts = [label_text(label, manifest, template) for label in labels.labels]
        prefix = self._model.tokenizer.encode([manifest.prefixes.label])[0]
        hypotheses = tuple(np.concatenate((prefix, ids)) for ids in self._model.tokenizer.encode(texts))
        room_tokens = manifest.max_tokens - len(self._head) - len(self._form.middle) - len(self._form.tail)
        most = room_tokens - manifest.max_tokens // LEAST_TEXT_SHARE
        for label, ids in zip(labels.labels, hypotheses, strict=True):
            if len(ids) > most and manifest.long_text is LongText.WINDOWS:
                raise LabelsError(
                    f"label {label.name!r:.60} with its description and template has {len(ids)} tokens; "
                    f"{manifest.id} reads at most {most} beside a text: shorten it"
                )
        return PairLabels(labels, hypotheses, room_tokens - max(len(ids) for ids in hypotheses))

    def scores(self, batch: TextBatch, which: Sequence[int], labels: PairLabels, *, multi_label: bool) -> list[Scores]:
        """Scores of the texts `which`; see `LabelScorer`."""
        everything = np.arange(len(labels.hypotheses))
        values = self.probabilities(batch, which, labels, [everything] * len(which), multi_label=multi_label)
        return [ranked(labels.labels.names, row, Stage.PAIR) for row in values]

    def probabilities(
        self,
        batch: TextBatch,
        which: Sequence[int],
        labels: PairLabels,
        chosen: Sequence[Chosen],
        *,
        multi_label: bool,
    ) -> list[Array]:
        """For each of the texts `which` the probabilities of the labels chosen for it, over all its windows.

        `chosen`: indices into the labels, one array for each text; the result's arrays are in their order.
        """
        texts = self._model_windows(batch, which, labels, chosen)
        windows = [window for text in texts for window in text]
        logits = self._logits(windows, labels, batch)
        found = []
        for number, text in zip(which, texts, strict=True):
            first, last = text[0], text[-1]
            rows = logits[first.row : last.row + len(last.chosen)].reshape(len(text), len(first.chosen), 2)
            weights = [max(1, len(window.ids)) for window in text]
            values = self._calibrated(rows, multi_label=multi_label)
            names = [labels.labels.names[label] for label in first.chosen]
            batch.vote(number, Stage.PAIR, self._model, room_tokens=weights[0], names=names, rows=values)
            found.append(joined(values, weights))
        return found

    def _model_windows(
        self, batch: TextBatch, which: Sequence[int], labels: PairLabels, chosen: Sequence[Chosen]
    ) -> list[list[_Window]]:
        """Each text's windows: the same for all labels, so that labels are compared on the same words."""
        truncate = self._model.manifest.long_text is LongText.TRUNCATE
        texts: list[list[_Window]] = []
        row = 0
        for number, ids, own in zip(which, batch.ids(self._model, which), chosen, strict=True):
            bounds = [(0, len(ids))] if truncate else spans(len(ids), labels.room_tokens)
            windows = []
            for start, end in bounds:
                windows.append(_Window(ids[start:end], own, row))
                row += len(own)
            batch.cut_into(number, len(windows))
            texts.append(windows)
        return texts

    def _logits(self, windows: Sequence[_Window], labels: PairLabels, batch: TextBatch) -> Rows:
        """Entailment and contradiction [pairs, 2] of every window with every label chosen for it."""
        found = np.empty((sum(len(window.chosen) for window in windows), 2), dtype=np.float32)
        # Long windows first, so that what runs together is of like length although only a slice is in memory.
        by_length = sorted(windows, key=lambda window: -len(window.ids))
        for rows, sequences, first_tokens in self._slices(by_length, labels):
            found[rows] = self._model.engine.run(sequences, first_tokens)[LOGITS][:, self._columns]
            batch.on_progress()
        return found

    def _slices(
        self, windows: Sequence[_Window], labels: PairLabels
    ) -> Iterator[tuple[list[int], list[IdArray], list[int]]]:
        """Pairs of at most SLICE_TOKENS together: their rows, their ids, and their tokens of type 0."""
        rows: list[int] = []
        sequences: list[IdArray] = []
        first_tokens: list[int] = []
        tokens = 0
        for window in windows:
            for row, label in enumerate(window.chosen.tolist(), window.row):
                sequence, first = self._pair(window.ids, labels.hypotheses[label])
                if rows and tokens + len(sequence) > SLICE_TOKENS:
                    yield rows, sequences, first_tokens
                    rows, sequences, first_tokens, tokens = [], [], [], 0
                rows.append(row)
                sequences.append(sequence)
                first_tokens.append(first)
                tokens += len(sequence)
        if rows:
            yield rows, sequences, first_tokens

    def _pair(self, text: IdArray, hypothesis: IdArray) -> tuple[IdArray, int]:
        """One sequence and how much of it is of token type 0. What is too long loses its end, the longer one first."""
        form = self._form
        room = self._model.manifest.max_tokens - len(self._head) - len(form.middle) - len(form.tail)
        first, second = kept(len(text), len(hypothesis), room)
        sequence = np.concatenate((self._head, text[:first], form.middle, hypothesis[:second], form.tail))
        return sequence, len(self._head) + first + len(form.middle) if form.typed else len(sequence)

    def _calibrated(self, logits: Rows, *, multi_label: bool) -> Array:
        """Logits [windows, labels, 2] to probabilities [windows, labels].

        Softmax of the entailments over the labels; or for each label by itself over contradiction and entailment,
        which is the sigmoid of their difference.
        """
        entailment, contradiction = np.moveaxis(logits.astype(np.float64), -1, 0)
        temperature = self._model.manifest.temperature
        if multi_label or entailment.shape[-1] == 1:
            return sigmoid((entailment - contradiction - temperature.multi_label_bias) / temperature.multi_label)
        return softmax(entailment / temperature.routing)
