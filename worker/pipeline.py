"""Entries in, outcomes out: decode, tokenize; check the deadline, choose model and labels, classify, decide.

Writes nothing and acknowledges nothing. Scores come from `worker.inference`, teams from `worker.router`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple, Protocol

from schemas.conditions import Facts
from schemas.errors import Code, ConditionError, EntryError, InferenceError, LabelsError, ModelError
from schemas.labels import LabelSet
from schemas.messages import Entry, RawEntry, decode, entry_ms, identity_of
from schemas.names import Keys, Stage, Task
from schemas.routes import Rule, first_rule
from schemas.settings import Settings
from worker.draft import Draft, Work
from worker.inference.classifier import Classifier, Job, PreparedLabels, Result, Scores
from worker.inference.tokenizer import IdArray
from worker.memory import Memory
from worker.outcome import Assignment, Dead, Done, Expired, Outcome, Prediction
from worker.router import RouteSetVersion, decide, decide_by
from worker.shelf import Shelf

_TOKENS_PER_ENTRY = 8
"""Special tokens, a prefix, and what an entry costs however short it is."""

_BYTES_PER_TOKEN = 4.5  # Chinese in UTF-8 and English alike, by XLM-R's vocabulary and its like


class Routes(Protocol):
    """Where route sets come from; `worker.router.Router` in production."""

    def resolve(self, name: str) -> RouteSetVersion | None:
        """The current version of a route set, or None if there is none."""


class _Work(NamedTuple):
    """One entry that is ready for its model."""

    position: int
    entry: Entry
    classifier: Classifier
    job: Job
    routes: RouteSetVersion | None
    rule: Rule | None = None


@dataclass(slots=True)
class _Looked:
    """What has been looked up in one call, for many entries ask for the same."""

    route_sets: dict[str, RouteSetVersion | None] = field(default_factory=dict)
    prepared: dict[tuple[Classifier, int, str | None], PreparedLabels] = field(default_factory=dict)
    """By the identity of the label set: working out its hash takes longer than all else that is done for an entry."""


class Pipeline:
    """`classify_batch` of the design: pure but for the models and route sets that it reads."""

    def __init__(
        self,
        shelf: Shelf,
        routes: Routes,
        settings: Settings,
        on_progress: Callable[[], None] = lambda: None,
        memory: Memory | None = None,
    ) -> None:
        """`on_progress` is called now and then by the thread that classifies, while there is much to do.

        `memory`: of what was classified before; without it, one as large as the settings say.
        """
        self._shelf = shelf
        self._routes = routes
        self._settings = settings
        self._on_progress = on_progress
        self._memory = Memory(settings.memory_texts, settings.memory_bytes) if memory is None else memory

    def __call__(self, entries: Sequence[RawEntry], now: datetime) -> list[Outcome]:
        """`read` and `classify` in one."""
        return self.classify(self.read(entries), now)

    def read(self, entries: Sequence[RawEntry]) -> list[Draft]:
        """One draft for each entry, in order."""
        keys = self._settings.keys
        read = [_decoded(raw, keys) for raw in entries]
        texts = list(dict.fromkeys(entry.text for entry in read if isinstance(entry, Entry) and entry.model is None))
        try:
            ids = dict(zip(texts, self._shelf.production.encode(texts), strict=True))
        except InferenceError:
            ids = {}  # one of them breaks the tokenizer: `classify` finds out which
        return [_draft(raw, entry, ids) for raw, entry in zip(entries, read, strict=True)]

    def classify(self, drafts: Sequence[Draft], now: datetime) -> list[Outcome]:
        """One outcome for each draft, in order; `now` is UTC, at the time of this call.

        What expires while others are prepared or in their model never reaches its own.
        Raises DatabaseUnavailableError when a route set is needed that was never read.
        """
        called_s, now_ms = time.monotonic(), now.timestamp() * 1000
        outcomes: list[Outcome | None] = [None] * len(drafts)
        work: list[_Work] = []
        looked = _Looked()
        for position, draft in enumerate(drafts):
            if isinstance(draft.read, Dead):
                outcomes[position] = draft.read
            elif _is_late(draft.read, now):
                outcomes[position] = Expired(draft.read)
            else:
                try:
                    work.append(self._prepare(position, draft.read, draft.ids, looked))
                except EntryError as error:
                    outcomes[position] = _dead(draft.raw, error)
        by_model: dict[Classifier, list[_Work]] = {}
        for item in work:
            by_model.setdefault(item.classifier, []).append(item)
        for classifier, of_model in by_model.items():
            # Loading a model, preparing labels, or the model before this one may have taken its time.
            group = _in_time(of_model, now + timedelta(seconds=time.monotonic() - called_s), outcomes)
            if not group:
                continue
            started = time.perf_counter()
            run = partial(_classified, classifier, on_progress=self._on_progress)
            results, ran = self._memory.answers(classifier, [item.job for item in group], run)
            ran_ms = (time.perf_counter() - started) * 1000 / max(1, sum(ran))
            for item, result, did_run in zip(group, results, ran, strict=True):
                outcomes[item.position] = (
                    _failed(drafts[item.position].raw, result)
                    if isinstance(result, InferenceError)
                    else self._done(item, result, now_ms, ran_ms if did_run else None)
                )
        return [outcome for outcome in outcomes if outcome is not None]

    def _prepare(self, position: int, entry: Entry, ids: IdArray | None, looked: _Looked) -> _Work:
        try:
            classifier = self._shelf.classifier(entry.model)
        except ModelError as error:
            raise EntryError(Code.UNKNOWN_MODEL, "model", str(error)) from error
        for task in entry.tasks:
            if task not in classifier.manifest.tasks:
                raise EntryError(
                    Code.UNKNOWN_MODEL, "model", f"{classifier.manifest.id} does not do {task.value}; name another"
                )
        routes, rule, prepared = None, None, None
        if Task.ROUTING in entry.tasks:
            labels = entry.labels
            if labels is None:
                routes = self._route_set(entry.route_set, looked.route_sets)
                labels = routes.labels
                # Who asks another model wants to know what that one says.
                if routes.rules and classifier is self._shelf.production:
                    rule = first_rule(routes.rules, Facts(entry.source, entry.kind, entry.id, entry.text, entry.meta))
            if rule is None:
                try:
                    prepared = self._prepared(classifier, labels, entry.template, looked)
                except (LabelsError, InferenceError) as error:  # the model may fail on a label as on any text
                    field = "labels" if routes is None else "route_set"
                    raise EntryError(Code.BAD_LABELS, field, str(error)) from error
        # Of a ticket that a rule decides and whose sentiment nobody wants, nothing is asked.
        job = Job(
            entry.text, Task.SENTIMENT in entry.tasks, prepared, entry.multi_label, ids, entry.reply_to is not None
        )
        return _Work(position, entry, classifier, job, routes, rule)

    def _prepared(
        self, classifier: Classifier, labels: LabelSet, template: str | None, looked: _Looked
    ) -> PreparedLabels:
        key = classifier, id(labels), template
        if key not in looked.prepared:
            looked.prepared[key] = self._shelf.prepared(classifier, labels, template)
        return looked.prepared[key]

    def _route_set(self, name: str, known: dict[str, RouteSetVersion | None]) -> RouteSetVersion:
        if name not in known:
            try:
                known[name] = self._routes.resolve(name)
            except ConditionError as error:
                raise EntryError(
                    Code.UNKNOWN_ROUTE_SET, "route_set", f"{name!r} has rules that cannot be read: {error}"
                ) from error
        routes = known[name]
        if routes is None:
            raise EntryError(
                Code.UNKNOWN_ROUTE_SET,
                "route_set",
                f"{name!r} has no teams; add them with `fenliu routes apply`, then replay",
            )
        return routes

    def _done(self, item: _Work, result: Result, now_ms: float, ran_ms: float | None) -> Done:
        """`ran_ms`: its share of the model's time; None if the model did not run for it."""
        entry, manifest = item.entry, item.classifier.manifest
        production = item.classifier is self._shelf.production
        queue_ms = max(0.0, now_ms - entry_ms(entry.entry_id))
        infer_ms = ran_ms or 0.0
        of_model = manifest.name, manifest.version
        predictions: tuple[Prediction, ...] = ()
        if (found := result.sentiment) is not None:
            predictions = (
                Prediction(
                    Task.SENTIMENT, *of_model, found.label, found.score, found.scores, found.stage, production,
                    queue_ms, infer_ms, None, found.votes,
                ),
            )  # fmt: skip
        if item.rule is not None:
            found, infer_ms = Scores(item.rule.team, 1.0, {item.rule.team: 1.0}, Stage.RULE), 0.0
        else:
            found = result.routing
        if found is not None:
            version = item.routes.version if item.routes else None
            predictions += (
                Prediction(
                    Task.ROUTING, *of_model, found.label, found.score, found.scores, found.stage, production,
                    queue_ms, infer_ms, version, found.votes,
                ),
            )  # fmt: skip
        return Done(entry, predictions, self._assignment(item, result) if production else None, ran_ms is None)

    def _assignment(self, item: _Work, result: Result) -> Assignment | None:
        if item.rule is not None:
            return decide_by(item.rule)
        if item.routes is None or result.routing is None:
            return None
        return decide(
            result.routing.scores,
            item.routes.labels,
            self._settings.triage_threshold,
            self._settings.triage_margin,
        )


def _decoded(raw: RawEntry, keys: Keys) -> Entry | Dead:
    try:
        return decode(raw, keys)
    except EntryError as error:
        return _dead(raw, error)


def _draft(raw: RawEntry, read: Entry | Dead, ids_of: Mapping[str, IdArray]) -> Draft:
    if isinstance(read, Dead):
        return Draft(raw, read, Work(), 0.0)
    work = Work(Task.ROUTING in read.tasks, read.labels is not None, read.model is not None)
    ids = ids_of.get(read.text) if read.model is None else None
    tokens = len(read.text.encode()) / _BYTES_PER_TOKEN if ids is None else len(ids)
    return Draft(raw, read, work, _TOKENS_PER_ENTRY + tokens, ids)


def _is_late(entry: Entry, now: datetime) -> bool:
    return entry.deadline is not None and entry.deadline <= now


def _in_time(work: Sequence[_Work], now: datetime, outcomes: list[Outcome | None]) -> list[_Work]:
    """Those whose deadline has not passed; the others have their outcome."""
    in_time = []
    for item in work:
        if _is_late(item.entry, now):
            outcomes[item.position] = Expired(item.entry)
        else:
            in_time.append(item)
    return in_time


def _classified(
    classifier: Classifier, jobs: Sequence[Job], on_progress: Callable[[], None]
) -> list[Result | InferenceError]:
    """Results in order. When the model fails, halve until the text that breaks it stands by itself."""
    try:
        return list(classifier.classify(jobs, on_progress))
    except InferenceError as error:
        if len(jobs) == 1:
            return [error]
        half = len(jobs) // 2
        return _classified(classifier, jobs[:half], on_progress) + _classified(classifier, jobs[half:], on_progress)


def _dead(raw: RawEntry, error: EntryError) -> Dead:
    return Dead(raw, error.code, error.field, str(error), identity_of(raw))


def _failed(raw: RawEntry, error: InferenceError) -> Dead:
    return Dead(raw, Code.MODEL_FAILED, "text", f"the model failed on it: {error}", identity_of(raw))
