"""Texts that come again: run once, remembered as long as they may, never answered with what something else said."""

from __future__ import annotations

import gc
import threading
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import Code, InferenceError
from schemas.labels import Label, LabelSet
from schemas.messages import RawEntry
from schemas.names import Lane, Stage, Task
from schemas.settings import Settings
from worker.inference.classifier import Classifier, Job, PreparedLabels, Result, Scores
from worker.inference.scores import Vote
from worker.memory import Memory, size_bytes
from worker.outcome import Dead, Done, Outcome
from worker.pace import Pace
from worker.pipeline import Pipeline
from worker.router import RouteSetVersion
from worker.shelf import Shelf

NOW = datetime(2026, 6, 1, tzinfo=UTC)
POISON = "poison"
TEAMS = LabelSet((Label("billing", "money"), Label("delivery", "parcels")))


class Toy:
    """A model whose scores follow from what it is, the text and what is asked; it notes what it is asked."""

    def __init__(self, version: str = "1") -> None:
        self.manifest = SimpleNamespace(id=f"toy/{version}", name="toy", version=version, tasks=tuple(Task))
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> list[range]:
        return [range(len(text)) for text in texts]

    def prepare(self, labels: LabelSet, template: str | None = None) -> PreparedLabels:
        names = tuple(replace(label, description=f"{label.description} {template}") for label in labels.labels)
        return PreparedLabels(LabelSet(names))

    def classify(self, jobs: Sequence[Job], on_progress: object = None) -> list[Result]:
        if any(job.text == POISON for job in jobs):
            raise InferenceError("no")
        self.asked.extend(job.text for job in jobs)
        return [self._result(job) for job in jobs]

    def _result(self, job: Job) -> Result:
        sentiment = self._scores(job, ("positive", "negative")) if job.sentiment else None
        names = tuple(f"{label}" for label in job.labels.labels.labels) if job.labels else ()
        routing = self._scores(job, names) if job.labels else None
        if routing and job.labels:
            of_name = dict(zip(names, job.labels.labels.names, strict=True))
            routing = replace(routing, label=of_name[routing.label],
                              scores={of_name[name]: score for name, score in routing.scores.items()})  # fmt: skip
        return Result(sentiment, routing, len(job.text), 1 + len(job.text) // 10)

    def _scores(self, job: Job, names: Sequence[str]) -> Scores:
        def score(name: str) -> float:
            asked = f"{self.manifest.id} {job.text} {name} {job.multi_label}"
            return int.from_bytes(sha256(asked.encode()).digest()[:4]) / 2**32

        scores = {name: score(name) for name in names}
        best = max(scores, key=lambda name: scores[name])
        votes = (Vote(0, len(job.text), scores),) if job.explain else ()
        return Scores(best, scores[best], scores, Stage.ENCODER, votes)


class Sets:
    """One route set, which may change."""

    def __init__(self) -> None:
        self.now = RouteSetVersion("default", 1, TEAMS)

    def resolve(self, name: str) -> RouteSetVersion:
        return self.now


def pipeline_of(model: Toy, sets: Sets | None = None, memory: Memory | None = None, **settings: int) -> Pipeline:
    shelf = Shelf(cast(Classifier, model), [], run_tokens=64)
    return Pipeline(shelf, sets or Sets(), Settings(triage_threshold=0.0, **settings), memory=memory)


def raw(n: int, text: str, **fields: str) -> RawEntry:
    given = {"id": str(n), "text": text} | fields
    return RawEntry(Lane.LIVE, f"{n}-0", {name.encode(): value.encode() for name, value in given.items()})


def done(outcomes: Sequence[Outcome]) -> list[Done]:
    found = [outcome for outcome in outcomes if isinstance(outcome, Done)]
    assert len(outcomes) == len(found)
    return found


def said(outcome: Outcome) -> object:
    """All of it but how long it took, and whether it was remembered."""
    if not isinstance(outcome, Done):
        return outcome
    predictions = tuple(each._replace(infer_ms=0.0, queue_ms=0.0) for each in outcome.predictions)
    return outcome._replace(predictions=predictions, remembered=False)


def test_a_text_that_comes_twice_in_a_batch_runs_once() -> None:
    # Given a batch in which two people say the same
    model = Toy()
    # When it is classified
    first, other, second = done(pipeline_of(model)([raw(1, "好"), raw(2, "差"), raw(3, "好")], NOW))
    # Then the model saw each text once, and both have the same result
    assert ["好", "差"] == model.asked
    assert first.predictions[0].scores == second.predictions[0].scores
    # and only what ran has taken time
    assert [False, False, True] == [each.remembered for each in (first, other, second)]
    assert first.predictions[0].infer_ms > 0
    assert 0.0 == second.predictions[0].infer_ms


def test_a_text_is_remembered_from_batch_to_batch() -> None:
    model = Toy()
    pipeline = pipeline_of(model)
    (before,) = done(pipeline([raw(1, "好", kind="ticket", reply_to="fenliu:reply:a")], NOW))
    (after,) = done(pipeline([raw(2, "好", kind="ticket", reply_to="fenliu:reply:b")], NOW))
    assert ["好"] == model.asked
    assert said(before._replace(entry=after.entry)) == said(after)
    assert before.assignment == after.assignment
    assert all(each.votes for each in after.predictions)


def test_who_wants_no_memory_has_none() -> None:
    model = Toy()
    pipeline = pipeline_of(model, memory_texts=0)
    outcomes = done(pipeline([raw(1, "好"), raw(2, "好")], NOW)) + done(pipeline([raw(3, "好")], NOW))
    assert ["好"] * 3 == model.asked
    assert not any(each.remembered for each in outcomes)


def test_after_a_promotion_the_new_model_answers() -> None:
    # Given a memory that knows what the old version says
    memory, old, new = Memory(100, 2**20), Toy("1"), Toy("2")
    (before,) = done(pipeline_of(old, memory=memory)([raw(1, "好")], NOW))
    # When another version is in production
    (after,) = done(pipeline_of(new, memory=memory)([raw(2, "好")], NOW))
    # Then it was asked itself
    assert ["好"] == new.asked
    assert ("1", "2") == (before.predictions[0].model_version, after.predictions[0].model_version)
    assert before.predictions[0].scores != after.predictions[0].scores


@pytest.mark.parametrize(
    "changed",
    [
        LabelSet((Label("billing", "money"), Label("delivery", "parcels and letters"))),
        LabelSet((Label("billing", "money"), Label("returns", "parcels"))),
        LabelSet(TEAMS.labels[:1]),
    ],
    ids=["description", "name", "fewer"],
)
def test_after_a_change_of_routes_texts_are_asked_again(changed: LabelSet) -> None:
    # Given a ticket that was routed
    model, sets = Toy(), Sets()
    pipeline = pipeline_of(model, sets)
    pipeline([raw(1, "好", kind="ticket")], NOW)
    # When its teams have changed, it is asked again, as by a worker that knew nothing
    sets.now = RouteSetVersion("default", 2, changed)
    ticket = raw(2, "好", kind="ticket")
    (after,) = done(pipeline([ticket], NOW))
    assert ["好", "好"] == model.asked
    assert said(after) == said(pipeline_of(Toy(), sets)([ticket], NOW)[0])
    # and the same teams under another version are not
    sets.now = RouteSetVersion("default", 3, changed)
    (later,) = done(pipeline([raw(3, "好", kind="ticket")], NOW))
    assert ["好", "好"] == model.asked
    assert 3 == later.predictions[1].route_set_version


def test_a_text_that_breaks_the_model_is_tried_each_time() -> None:
    # Given a model that fails on a text
    model, memory = Toy(), Memory(100, 2**20)
    pipeline = pipeline_of(model, memory=memory)
    outcomes = pipeline([raw(1, "好"), raw(2, POISON), raw(3, POISON)], NOW)
    # then only that text is dead, and it is not remembered
    assert [None, Code.MODEL_FAILED, Code.MODEL_FAILED] == [getattr(each, "code", None) for each in outcomes]
    assert 1 == len(memory)
    assert isinstance(pipeline([raw(4, POISON)], NOW)[0], Dead)


def test_the_longest_unasked_is_forgotten_first() -> None:
    model = Toy()
    pipeline = pipeline_of(model, memory_texts=2)
    for n, text in enumerate("abacab"):  # b goes when c comes, and comes back
        pipeline([raw(n, text)], NOW)
    assert ["a", "b", "c", "b"] == model.asked


def test_memory_is_bounded_in_bytes() -> None:
    # Given a memory with room for the results of ten texts
    result = Toy()._result(Job("a", sentiment=True, labels=None))
    memory = Memory(1_000, 10 * size_bytes(result))
    pipeline = pipeline_of(Toy(), memory=memory)
    # when a hundred come, at once or one after the other, it holds ten
    pipeline([raw(n, f"text {n}") for n in range(100)], NOW)
    assert 10 == len(memory)
    pipeline([raw(100, "one more")], NOW)
    assert 10 == len(memory)
    # and what is larger than all of it is not kept
    assert 0 == len(_filled(Memory(10, 10)))


def _filled(memory: Memory) -> Memory:
    pipeline_of(Toy(), memory=memory)([raw(n, f"text {n}") for n in range(100)], NOW)
    return memory


@pytest.mark.parametrize("labels", [2, 20, 100])
def test_what_a_result_takes_is_about_what_is_said(labels: int) -> None:
    # Given results with so many labels
    names = [f"label {n}" for n in range(labels)]
    said_bytes = 0

    def run(jobs: Sequence[Job]) -> list[Result]:
        return [
            Result(None, Scores(names[0], 0.5, {name: n / 7 + hash(job.text) for n, name in enumerate(names)},
                                Stage.ENCODER), 1, 1)
            for job in jobs
        ]  # fmt: skip

    memory, model = Memory(10_000, 2**30), cast(Classifier, Toy())
    gc.collect()
    tracemalloc.start()
    # when a memory holds many of them
    for n in range(20):
        jobs = [Job(f"{n} {m}", sentiment=False, labels=None) for m in range(50)]
        memory.answers(model, jobs, run)
        said_bytes += sum(map(size_bytes, run(jobs)))
    del jobs
    gc.collect()
    taken_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # then they take as much as it thinks, within a third
    assert pytest.approx(taken_bytes, rel=0.33) == said_bytes


def test_labels_that_come_with_each_text_count_with_their_names() -> None:
    # Given a memory of half a MB, asked about each text with labels of its own
    memory, model = Memory(10_000, 2**19), cast(Classifier, Toy())

    def run(jobs: Sequence[Job]) -> list[Result]:
        names = [job.labels.labels.names for job in jobs if job.labels]
        return [Result(None, Scores(own[0], 0.5, dict.fromkeys(own, 0.5), Stage.ENCODER), 1, 1) for own in names]

    gc.collect()
    tracemalloc.start()
    # when many come, in twos that share their labels
    for n in range(300):
        labels = PreparedLabels(LabelSet(tuple(Label(f"{n} {label} ".ljust(150, "好")) for label in range(20))))
        memory.answers(model, [Job(f"{n} {text}", False, labels) for text in "ab"], run)
    del labels
    gc.collect()
    taken_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # then it takes no more than it may, within a third, and uses it
    assert pytest.approx(taken_bytes, rel=0.33) == 2**19
    # and has not lost count: what is asked with common labels pushes all that out
    memory.answers(model, [Job(f"{n}", False, None) for n in range(10_000)], lambda jobs: [_PLAIN] * len(jobs))
    assert 2**19 // size_bytes(_PLAIN) == len(memory)


_PLAIN = Result(None, None, 1, 1)


def test_a_model_that_is_gone_is_not_held_by_what_it_said() -> None:
    memory = Memory(100, 2**20)
    ended = threading.Event()

    class Ending(Toy):
        def __del__(self) -> None:
            ended.set()

    pipeline_of(Ending(), memory=memory)([raw(1, "好", kind="ticket")], NOW)
    gc.collect()
    assert ended.is_set()
    assert 1 == len(memory)


def test_what_was_remembered_says_nothing_of_the_models_pace() -> None:
    # Given a pace that has seen a portion run
    model = Toy()
    pipeline, pace = pipeline_of(model), Pace(50.0)
    drafts = pipeline.read([raw(n, f"text {n}") for n in range(20)])
    assert not any(each.remembered for each in done(pipeline.classify(drafts, NOW)))
    # when the same texts come again, all of them are marked for it to leave out
    assert all(each.remembered for each in done(pipeline.classify(drafts, NOW)))
    before_ms = pace.cost_ms(drafts[0])
    pace.learn([], 0.01)
    assert before_ms == pace.cost_ms(drafts[0])


def test_threads_share_a_memory() -> None:
    # Given a memory so small that threads push out each other's texts
    memory, plain = Memory(7, 2**20), pipeline_of(Toy(), memory_texts=0)
    batches = [[raw(m, f"text {(n * m) % 11}") for m in range(1, 20)] for n in range(40)]
    expected = [[said(each) for each in plain(batch, NOW)] for batch in batches]
    pipeline = pipeline_of(Toy(), memory=memory)
    found: dict[int, list[object]] = {}

    def work(numbers: range) -> None:
        for number in numbers:
            found[number] = [said(each) for each in pipeline(batches[number], NOW)]

    # when four of them work at once
    threads = [threading.Thread(target=work, args=(range(first, 40, 4),)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # then each has what it would have alone
    assert expected == [found[number] for number in range(40)]
    assert 7 == len(memory)


ASKED = st.fixed_dictionaries(
    {"text": st.sampled_from(["a", "b", "c", "a long text of some words", POISON])},
    optional={
        "kind": st.sampled_from(["comment", "ticket"]),
        "tasks": st.sampled_from(["sentiment", "routing", "routing,sentiment"]),
        "labels": st.sampled_from(['["x", "y"]', '["x"]', '{"x": "of x", "y": ""}']),
        "template": st.sampled_from(["about {}", "{}!"]),
        "multi_label": st.sampled_from(["yes", "no"]),
        "reply_to": st.just("fenliu:reply:me"),
        "deadline": st.sampled_from(["2020-01-01T00:00:00Z", "2030-01-01T00:00:00Z"]),
    },
)
STEPS = st.lists(
    st.one_of(st.lists(ASKED, max_size=6), st.sampled_from(["promote", "new routes"])), min_size=2, max_size=8
)


@given(STEPS, st.integers(1, 6))
def test_with_a_memory_and_without_the_outcomes_are_the_same(steps: list[object], most_texts: int) -> None:
    """Whatever is asked in whatever order, while models are promoted and routes change."""
    memory, sets, version = Memory(most_texts, 2**20), Sets(), 1
    pipeline, plain = pipeline_of(Toy(), sets, memory), pipeline_of(Toy(), sets, memory_texts=0)
    for number, step in enumerate(steps):
        if step == "promote":
            version += 1
            pipeline, plain = (
                pipeline_of(Toy(str(version)), sets, memory),
                pipeline_of(Toy(str(version)), sets, memory_texts=0),
            )
        elif step == "new routes":
            sets.now = RouteSetVersion("default", number + 2, LabelSet((*TEAMS.labels, Label(f"team {number}"))))
        else:
            entries = [raw(n, **asked) for n, asked in enumerate(cast("list[dict[str, str]]", step), 1)]
            assert [said(each) for each in plain(entries, NOW)] == [said(each) for each in pipeline(entries, NOW)]
            assert len(memory) <= most_texts
