"""The models a worker has at hand: the one in production, and others that entries ask for by name.

Loaded models and prepared label sets are shared by all slots. Where model folders lie and what makes one
valid is `worker.inference.folder`'s.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from schemas.labels import LabelSet
from schemas.settings import Settings
from worker.inference.classifier import Classifier, PreparedLabels
from worker.inference.folder import find, model_homes
from worker.inference.providers import CPU
from worker.inference.run_tally import RunTally

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MOST_OTHER_MODELS = 2
MOST_PREPARED_LABEL_SETS = 256


class Shelf:
    """Loaded classifiers by name, least recently used ones dropped. Thread-safe."""

    def __init__(
        self,
        production: Classifier,
        homes: Sequence[Path],
        run_tokens: int,
        tally: RunTally | None = None,
        provider: str = CPU,
    ) -> None:
        self.production = production
        self._homes = homes
        self._run_tokens = run_tokens
        self._tally = tally
        self._provider = provider
        self._others: _Recent[str, Classifier] = _Recent(MOST_OTHER_MODELS)
        self._prepared: _Recent[tuple[str, LabelSet, str | None], PreparedLabels] = _Recent(MOST_PREPARED_LABEL_SETS)

    @classmethod
    def open(cls, settings: Settings, tally: RunTally | None = None) -> Shelf:
        """Load the model in production. `tally` counts what every model runs.

        Raises ModelError with the reason if it may not be loaded.
        """
        homes = model_homes(settings.models_home)
        folder, provider = find(settings.model, homes), settings.provider
        production = Classifier.load(folder, run_tokens=settings.run_tokens, tally=tally, provider=provider)
        return cls(production, homes, settings.run_tokens, tally, provider)

    def classifier(self, name: str | None) -> Classifier:
        """The model called `name` (or `name/version`); the one in production for None. Raises ModelError."""
        if name is None:
            return self.production
        manifest = self.production.manifest
        if name in (manifest.name, manifest.id):
            return self.production
        folder = find(name, self._homes)
        return self._others.get(str(folder), lambda: self._load(folder))

    def _load(self, folder: Path) -> Classifier:
        return Classifier.load(folder, run_tokens=self._run_tokens, tally=self._tally, provider=self._provider)

    def prepared(self, classifier: Classifier, labels: LabelSet, template: str | None) -> PreparedLabels:
        """`labels` as `classifier` reads them, computed once."""
        key = (classifier.manifest.id, labels, template)
        return self._prepared.get(key, lambda: classifier.prepare(labels, template))


class _Recent(Generic[K, V]):
    """A bounded cache that makes a missing value once, outside of which other keys need not wait long."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K, make: Callable[[], V]) -> V:
        with self._lock:
            if key not in self._values:
                self._values[key] = make()
                if len(self._values) > self._most:
                    self._values.popitem(last=False)
            self._values.move_to_end(key)
            return self._values[key]
