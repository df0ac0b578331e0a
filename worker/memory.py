"""Results of texts that were asked about before: of one process, bounded, so that no text runs twice without need.

A question is what decides a result: the loaded model, a hash of the text, and what is asked. Scores do not depend on
batch-mates, and so what is remembered is what running would give. What is asked, and who runs it, is
`worker.pipeline`'s.
"""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from itertools import count
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

from schemas.errors import InferenceError
from worker.inference.classifier import Classifier, Job, Result

Run = Callable[[Sequence[Job]], Sequence[Result | InferenceError]]

HASH_BYTES: Final = 16
"""Of BLAKE2b: texts come from anywhere, and nobody can make two that share it. The text itself is not kept."""

_BYTES_OF_RESULT: Final = 340
_BYTES_OF_SCORES: Final = 150
_BYTES_OF_LABEL: Final = 50
"""What Python takes for a question and its result, for the scores of a task or a window, and for each label in them."""


Question = bytes
"""What decides a result: the text's hash, then model, labels and what is asked. Bytes keep their own hash for every
look into a table."""


class Answers(NamedTuple):
    """A result for each job, in order, and which of them were run for it."""

    results: list[Result | InferenceError]
    ran: list[bool]


class _Kept(NamedTuple):
    """A result, the number of its labels if there are any, and about what it takes in memory but for their names."""

    result: Result
    labels: int | None
    size_bytes: int


class Memory:
    """The least recently asked goes first, when there are more than `most_texts` or they take over `most_bytes`.

    Threads may share one. With 0 texts it remembers nothing, and every text runs as often as it comes.
    """

    def __init__(self, most_texts: int, most_bytes: int) -> None:
        self._most_texts = most_texts
        self._most_bytes = most_bytes
        self._known: OrderedDict[Question, _Kept] = OrderedDict()
        self._bytes = 0
        self._of_labels: dict[int, tuple[int, int]] = {}  # how many results of these labels, what their names take
        self._lock = threading.Lock()
        # Numbers and not the objects: what is remembered must not keep a model in memory.
        self._numbers: WeakKeyDictionary[object, int] = WeakKeyDictionary()
        self._next = count(1)

    def __len__(self) -> int:
        return len(self._known)

    def answers(self, classifier: Classifier, jobs: Sequence[Job], run: Run) -> Answers:
        """The result of each job, by `run` where it is not known; of equal jobs the first is run.

        What failed is not remembered.
        """
        if not self._most_texts:
            return Answers(list(run(jobs)), [True] * len(jobs))
        model = self._number(classifier)
        labels = {id(job.labels): self._number(job.labels) for job in jobs if job.labels is not None}
        asked: dict[tuple[int, bool, bool, bool], bytes] = {}
        questions = []
        for job in jobs:
            kind = id(job.labels), job.sentiment, job.multi_label, job.explain
            if kind not in asked:
                asked[kind] = repr((model, labels.get(kind[0]), *kind[1:])).encode()
            questions.append(blake2b(job.text.encode(), digest_size=HASH_BYTES).digest() + asked[kind])
        found = self._recall(questions)
        first: dict[Question, int] = {}
        for number, question in enumerate(questions):
            if question not in found:
                first.setdefault(question, number)
        if first:
            results = run([jobs[number] for number in first.values()])
            found.update(zip(first, results, strict=True))
            self._keep(zip(first, results, [labels.get(id(jobs[n].labels)) for n in first.values()], strict=True))
        ran = set(first.values())
        return Answers([found[question] for question in questions], [number in ran for number in range(len(jobs))])

    def _number(self, of: object) -> int:
        with self._lock:
            known = self._numbers.get(of)
            if known is None:
                known = self._numbers[of] = next(self._next)
            return known

    def _recall(self, questions: Iterable[Question]) -> dict[Question, Result | InferenceError]:
        with self._lock:
            found: dict[Question, Result | InferenceError] = {}
            for question in questions:
                kept = self._known.get(question)
                if kept is not None:
                    found[question] = kept.result
                    self._known.move_to_end(question)
            return found

    def _keep(self, answered: Iterable[tuple[Question, Result | InferenceError, int | None]]) -> None:
        with self._lock:
            for question, result, labels in answered:
                if isinstance(result, InferenceError) or question in self._known:
                    continue
                kept = self._known[question] = _Kept(result, labels, size_bytes(result))
                self._bytes += kept.size_bytes + self._names_bytes(kept, 1)
            while len(self._known) > self._most_texts or self._bytes > self._most_bytes:
                _, kept = self._known.popitem(last=False)
                self._bytes -= kept.size_bytes + self._names_bytes(kept, -1)

    def _names_bytes(self, kept: _Kept, more: int) -> int:
        """What the names of its labels take if this is the first result that holds them, or the last; else 0.

        Callers may bring labels of their own with each text, and then nobody else holds these.
        """
        labels, routing = kept.labels, kept.result.routing
        if labels is None or routing is None:
            return 0
        results, names_bytes = self._of_labels.get(labels) or (0, sum(map(sys.getsizeof, routing.scores)))
        self._of_labels[labels] = results + more, names_bytes
        if results + more == 0:
            del self._of_labels[labels]
        return names_bytes if results + more == (more > 0) else 0


def size_bytes(result: Result) -> int:
    """About what a result and its question take in memory, without the names of labels, which results share."""
    size = _BYTES_OF_RESULT
    for scores in (result.sentiment, result.routing):
        if scores is not None:
            size += _BYTES_OF_SCORES + _BYTES_OF_LABEL * len(scores.scores)
            size += sum(_BYTES_OF_SCORES + _BYTES_OF_LABEL * len(vote.scores) for vote in scores.votes)
    return size
