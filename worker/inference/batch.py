"""The texts of one call, and what each model has made of them so far: no model reads a text twice.

Sentiment and every way to score labels share one of these, so that those who want the same pass get the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from worker.inference.model import Model, Pass
from worker.inference.tokenizer import IdArray


class TextBatch:
    """Belongs to one call of one thread. `on_progress` is to be called now and then during work that may take long."""

    def __init__(self, texts: Sequence[str], on_progress: Callable[[], None]) -> None:
        self.on_progress = on_progress
        self.windows = [1] * len(texts)
        """The most windows each text was cut into by any model."""
        self._texts = texts
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
