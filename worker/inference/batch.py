"""The texts of one call, and what each model has made of them so far: no model reads a text twice.

Sentiment and every way to score labels share one of these, so that those who want the same pass get the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from schemas.names import Stage
from worker.inference.model import Model, Pass
from worker.inference.scores import VOTE_LABELS, Array, Vote, descending
from worker.inference.tokenizer import IdArray
from worker.inference.windows import spans


class TextBatch:
    """Belongs to one call of one thread. `on_progress` is to be called now and then during work that may take long.

    `explained`: the texts whose windows' votes are wanted.
    """

    def __init__(
        self, texts: Sequence[str], on_progress: Callable[[], None], explained: Collection[int] = frozenset()
    ) -> None:
        self.on_progress = on_progress
        self.windows = [1] * len(texts)
        """The most windows each text was cut into by any model."""
        self._texts = texts
        self._explained = explained
        self._votes: dict[tuple[int, Stage], tuple[Vote, ...]] = {}
        self._ids: dict[Model, dict[int, IdArray]] = {}
        self._passes: dict[Model, Pass] = {}

    def know(self, model: Model, ids: Mapping[int, IdArray]) -> None:
        """These texts' token ids for a model have been worked out before."""
        self._ids.setdefault(model, {}).update(ids)

    def ids(self, model: Model, which: Sequence[int]) -> list[IdArray]:
        """Token ids of the texts `which` for a model. Raises InferenceError."""
        known = self._ids.setdefault(model, {})
        missing = [number for number in which if number not in known]
        if missing:
            known.update(zip(missing, model.encode([self._texts[number] for number in missing]), strict=True))
        return [known[number] for number in which]

    def passed(self, model: Model) -> Pass:
        """All texts after a model's forward pass. Raises InferenceError."""
        if model not in self._passes:
            self._passes[model] = model.forward(self.ids(model, range(len(self._texts))))
            for number, cut in enumerate(self._passes[model].cuts):
                self.cut_into(number, len(cut.weights))
        return self._passes[model]

    def cut_into(self, number: int, windows: int) -> None:
        """Note how many windows a text was cut into."""
        self.windows[number] = max(self.windows[number], windows)

    def vote(
        self, number: int, stage: Stage, model: Model, *, room_tokens: int, names: Sequence[str], rows: Array
    ) -> None:
        """Note what the windows of a text say [windows, labels] by themselves, where that is wanted.

        `room_tokens`: of text in each window. Raises InferenceError.
        """
        if number not in self._explained or len(rows) < 2:
            return
        places = model.tokenizer.places(self._texts[number])
        bounds = spans(len(self.ids(model, [number])[0]), room_tokens)
        self._votes[number, stage] = tuple(
            Vote(
                places[start][0],
                places[end - 1][1],
                {names[best]: float(row[best]) for best in descending(row)[:VOTE_LABELS].tolist()},
            )
            for (start, end), row in zip(bounds, rows, strict=True)
        )

    def votes(self, number: int, stage: Stage) -> tuple[Vote, ...]:
        """What was noted of a text by `vote`."""
        return self._votes.get((number, stage), ())
