"""Entries in, outcomes out, with a tiny real model and route sets in a dictionary."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from schemas.errors import Code, ConditionError
from schemas.labels import Label, LabelSet
from schemas.messages import RawEntry
from schemas.names import AssignmentStatus, Lane, Stage, Task
from schemas.routes import Rule
from schemas.settings import Settings
from tests.models import Home
from worker.inference.classifier import Classifier
from worker.inference.model import Model
from worker.inference.tokenizer import IdArray
from worker.outcome import Assignment, Dead, Done, Expired, Outcome
from worker.pipeline import Pipeline
from worker.router import RouteSetVersion
from worker.shelf import Shelf

NOW = datetime(2026, 6, 1, tzinfo=UTC)


class Sets:
    """Route sets by name, and how often each was asked for."""

    def __init__(self, **sets: RouteSetVersion) -> None:
        self.sets = sets
        self.asked: list[str] = []

    def resolve(self, name: str) -> RouteSetVersion | None:
        self.asked.append(name)
        return self.sets.get(name)


TEAMS = LabelSet((Label("物流", "太慢"), Label("退款", threshold=1.0)))


@pytest.fixture
def models_home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "models")
    home.add("tiny")
    home.add("other")
    home.add("moody", tasks=["sentiment"], kind=["classifier"])
    return home


@pytest.fixture
def sets() -> Sets:
    return Sets(default=RouteSetVersion("default", 3, TEAMS))


@pytest.fixture
def pipeline(models_home: Home, sets: Sets) -> Pipeline:
    production = Classifier.load(models_home.path / "tiny" / "1", run_tokens=64)
    shelf = Shelf(production, [models_home.path], run_tokens=64)
    return Pipeline(shelf, sets, Settings(triage_threshold=0.0, memory_texts=0))


def _raw(n: int = 1, **fields: str) -> RawEntry:
    given = {"id": str(n), "text": "物流太慢"} | fields
    return RawEntry(Lane.LIVE, f"{n}-0", {name.encode(): value.encode() for name, value in given.items()})


def test_outcomes_come_in_the_order_of_entries_whatever_they_are(pipeline: Pipeline) -> None:
    # Given good, bad, expired and good again
    entries = [_raw(1), _raw(2, kind="poem"), _raw(3, deadline="2020-01-01T00:00:00Z"), _raw(4, kind="ticket")]
    # When they are classified together
    good, bad, expired, ticket = pipeline(entries, NOW)
    # Then each is what it is
    assert isinstance(good, Done)
    assert isinstance(bad, Dead)
    assert isinstance(expired, Expired)
    assert isinstance(ticket, Done)
    assert ("1", Code.UNKNOWN_KIND, "3", "4") == (good.entry.id, bad.code, expired.entry.id, ticket.entry.id)
    assert [Task.SENTIMENT] == [prediction.task for prediction in good.predictions]
    assert [Task.SENTIMENT, Task.ROUTING] == [prediction.task for prediction in ticket.predictions]


def test_a_ticket_is_assigned_and_says_which_version_decided(pipeline: Pipeline) -> None:
    (ticket,) = pipeline([_raw(kind="ticket")], NOW)
    assert isinstance(ticket, Done)
    routing = ticket.predictions[1]
    assert ("tiny", "1", 3, True) == (
        routing.model,
        routing.model_version,
        routing.route_set_version,
        routing.production,
    )
    assert ticket.assignment is not None
    expected = "triage" if routing.label == "退款" else "物流"  # nothing reaches 退款's threshold of 1
    assert expected == ticket.assignment.team


def test_below_its_threshold_a_ticket_goes_to_triage(pipeline: Pipeline, sets: Sets) -> None:
    strict = LabelSet((Label("物流", threshold=1.0), Label("退款", threshold=1.0)))
    sets.sets["strict"] = RouteSetVersion("strict", 1, strict)
    (ticket,) = pipeline([_raw(kind="ticket", route_set="strict")], NOW)
    assert isinstance(ticket, Done)
    assert ticket.assignment is not None
    assert ("triage", AssignmentStatus.TRIAGE) == (ticket.assignment.team, ticket.assignment.status)


def test_a_route_set_is_asked_for_once_a_batch(pipeline: Pipeline, sets: Sets) -> None:
    pipeline([_raw(n, kind="ticket") for n in range(1, 20)], NOW)
    assert ["default"] == sets.asked


def test_labels_of_ones_own_are_no_teams(pipeline: Pipeline) -> None:
    (outcome,) = pipeline([_raw(tasks="routing", labels='["登录", "账号"]')], NOW)
    assert isinstance(outcome, Done)
    assert {"登录", "账号"} == set(outcome.predictions[0].scores)
    assert (None, None) == (outcome.assignment, outcome.predictions[0].route_set_version)


def test_another_model_answers_but_is_not_in_production(pipeline: Pipeline) -> None:
    default, other = pipeline([_raw(1), _raw(2, model="other/1", kind="ticket")], NOW)
    assert isinstance(default, Done)
    assert isinstance(other, Done)
    assert ("tiny", True) == (default.predictions[0].model, default.predictions[0].production)
    assert ("other", False) == (other.predictions[0].model, other.predictions[0].production)
    assert other.assignment is None


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"model": "nowhere"}, Code.UNKNOWN_MODEL),
        ({"model": "moody", "tasks": "routing", "labels": '["a"]'}, Code.UNKNOWN_MODEL),
        ({"kind": "ticket", "route_set": "nowhere"}, Code.UNKNOWN_ROUTE_SET),
    ],
)
def test_what_is_not_there_is_a_dead_letter_and_spares_its_neighbours(
    pipeline: Pipeline, fields: dict[str, str], code: Code
) -> None:
    before, bad, after = pipeline([_raw(1), _raw(2, **fields), _raw(3)], NOW)
    assert isinstance(before, Done)
    assert isinstance(bad, Dead)
    assert isinstance(after, Done)
    assert code == bad.code
    assert bad.field in bad.message


def test_a_text_scores_the_same_alone_and_in_a_batch(pipeline: Pipeline) -> None:
    texts = ["物流太慢", "很好", "退款" * 30, "登录账号了不" * 5, "物"]
    entries = [_raw(n, text=text, kind="ticket") for n, text in enumerate(texts, 1)]
    together = pipeline(entries, NOW)
    for entry, outcome in zip(entries, together, strict=True):
        (alone,) = pipeline([entry], NOW)
        assert isinstance(outcome, Done)
        assert isinstance(alone, Done)
        for one, other in zip(alone.predictions, outcome.predictions, strict=True):
            assert pytest.approx(dict(one.scores), abs=1e-6) == dict(other.scores)


@pytest.mark.parametrize("production", ["pairs", "both"])
def test_tickets_are_routed_by_a_pair_model_or_a_cascade_in_production(
    models_home: Home, sets: Sets, production: str
) -> None:
    # Given a model for pairs, or one with an encoder before it, in production
    models_home.add_nli()
    models_home.add_cascade()
    shelf = Shelf(Classifier.load(models_home.path / production / "1", run_tokens=64), [models_home.path], 64)
    steps: list[None] = []
    pipeline = Pipeline(shelf, sets, Settings(triage_threshold=0.0), lambda: steps.append(None))
    # when tickets are routed
    outcomes = pipeline([_raw(n, text=text, tasks="routing") for n, text in enumerate(["物流太慢", "退款"], 1)], NOW)
    # then they have a team, decided in pairs, and the pipeline said that it went on
    for outcome in outcomes:
        assert isinstance(outcome, Done)
        (routing,) = outcome.predictions
        assert (production, Stage.PAIR, True, 3) == (
            routing.model,
            routing.stage,
            routing.production,
            routing.route_set_version,
        )
        assert outcome.assignment is not None
        assert outcome.assignment.team in {"物流", "triage"}  # nothing reaches 退款's threshold of 1
    assert steps


def test_an_entry_may_ask_for_a_pair_model_with_labels_and_template_of_its_own(
    pipeline: Pipeline, models_home: Home
) -> None:
    models_home.add_nli()
    own = {"labels": '"登录， 账号,,退款"', "template": "a{}", "multi_label": "yes", "model": "pairs"}
    (outcome,) = pipeline([_raw(tasks="routing", **own)], NOW)
    assert isinstance(outcome, Done)
    routing = outcome.predictions[0]
    assert ("pairs", Stage.PAIR, False) == (routing.model, routing.stage, routing.production)
    assert {"登录", "账号", "退款"} == set(routing.scores)


@pytest.mark.parametrize(
    ("fields", "field"),
    [({"labels": '{"物流": "' + "太慢" * 40 + '"}'}, "labels"), ({"route_set": "wordy"}, "route_set")],
)
def test_a_label_too_long_for_its_model_is_a_dead_letter_and_spares_its_neighbours(
    pipeline: Pipeline, models_home: Home, sets: Sets, fields: dict[str, str], field: str
) -> None:
    models_home.add_nli()
    sets.sets["wordy"] = RouteSetVersion("wordy", 1, LabelSet((Label("物流", "太慢" * 40),)))
    bad, good = pipeline([_raw(1, tasks="routing", model="pairs", **fields), _raw(2)], NOW)
    assert isinstance(bad, Dead)
    assert isinstance(good, Done)
    assert (Code.BAD_LABELS, field) == (bad.code, bad.field)
    assert "label '物流'" in bad.message


def test_a_rule_decides_before_the_model_which_is_not_asked(pipeline: Pipeline, sets: Sets) -> None:
    # Given rules, one of which names triage
    rules = Rule.of('meta.plan == "enterprise"', "大客户"), Rule.of('source == "test"', "triage")
    sets.sets["ruled"] = RouteSetVersion("ruled", 4, TEAMS, rules)
    # When tickets come to which the first rule, the second, both and none apply
    ruled = {"kind": "ticket", "route_set": "ruled"}
    outcomes = pipeline(
        [
            _raw(1, **ruled, meta='{"plan": "enterprise"}'),
            _raw(2, **ruled, source="test"),
            _raw(3, **ruled, source="test", plan="enterprise"),  # an unknown field is meta, too
            _raw(4, **ruled),
            _raw(5, tasks="routing", route_set="ruled", plan="enterprise"),
        ],
        NOW,
    )
    # Then the first that holds decides, with full score, as the model in production, by this version
    done = [outcome for outcome in outcomes if isinstance(outcome, Done)]
    routings = [outcome.predictions[-1] for outcome in done]
    assert ["大客户", "triage", "大客户", "大客户"] == [routings[each].label for each in (0, 1, 2, 4)]
    for each in (0, 1, 2, 4):
        routing = routings[each]
        assert (Stage.RULE, 1.0, {routing.label: 1.0}) == (routing.stage, routing.score, dict(routing.scores))
        assert ("tiny", "1", True, 4, 0.0) == (
            routing.model, routing.model_version, routing.production, routing.route_set_version, routing.infer_ms,
        )  # fmt: skip
    assert Stage.ENCODER == routings[3].stage
    auto, triage = (outcome.assignment for outcome in done[:2])
    assert Assignment("大客户", AssignmentStatus.AUTO, 1.0, 'rule: meta.plan == "enterprise"') == auto
    assert Assignment("triage", AssignmentStatus.TRIAGE, 1.0, 'rule: source == "test"') == triage
    # And sentiment is found where it is asked for
    assert [2, 2, 2, 2, 1] == [len(outcome.predictions) for outcome in done]


def test_a_rule_spares_the_model_its_labels(pipeline: Pipeline, sets: Sets, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a model that cannot score labels, when a rule decides, then nobody notices
    def fail(*_: object) -> None:
        raise AssertionError("the model was asked")

    monkeypatch.setattr(Shelf, "prepared", fail)
    sets.sets["ruled"] = RouteSetVersion("ruled", 4, TEAMS, (Rule.of('kind == "ticket"', "大客户"),))
    (outcome,) = pipeline([_raw(kind="ticket", route_set="ruled")], NOW)
    assert isinstance(outcome, Done)


def test_who_asks_another_model_hears_it_and_no_rule(pipeline: Pipeline, sets: Sets) -> None:
    sets.sets["ruled"] = RouteSetVersion("ruled", 4, TEAMS, (Rule.of('kind == "ticket"', "大客户"),))
    (outcome,) = pipeline([_raw(kind="ticket", route_set="ruled", model="other/1")], NOW)
    assert isinstance(outcome, Done)
    assert (Stage.ENCODER, 4) == (outcome.predictions[1].stage, outcome.predictions[1].route_set_version)


def test_rules_that_cannot_be_read_are_a_dead_letter(
    pipeline: Pipeline, sets: Sets, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a route set that a newer release has written
    def refuse(_: str) -> None:
        raise ConditionError("expected and, or, or the end, not matches")

    monkeypatch.setattr(sets, "resolve", refuse)
    bad, good = pipeline([_raw(1, kind="ticket"), _raw(2)], NOW)
    assert isinstance(bad, Dead)
    assert isinstance(good, Done)
    assert (Code.UNKNOWN_ROUTE_SET, "route_set") == (bad.code, bad.field)
    assert "'default' has rules that cannot be read: expected and" in bad.message


class _Clock:
    """Stands for the module `time`; goes on when it is told to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    perf_counter = monotonic


@pytest.mark.parametrize(("loading_s", "state"), [(0.5, Done), (2.0, Expired)])
def test_what_expires_while_a_model_is_loaded_does_not_reach_its_own(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, loading_s: float, state: type
) -> None:
    # Given an entry that has a second left, and beside it one whose model has to be loaded
    clock = _Clock()
    monkeypatch.setattr("worker.pipeline.time", clock)
    classifier = Shelf.classifier

    def loading(shelf: Shelf, name: str | None) -> Classifier:
        clock.now_s += loading_s if name else 0.0
        return classifier(shelf, name)

    monkeypatch.setattr(Shelf, "classifier", loading)
    # When both are classified
    one, other = pipeline([_raw(1, deadline="2026-06-01T00:00:01Z"), _raw(2, model="other")], NOW)
    # Then the one is expired if loading took longer than that
    assert isinstance(one, state)
    assert isinstance(other, Done)


def test_a_draft_knows_its_tokens_and_is_classified_with_them(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given entries that have been read
    entries = [_raw(1), _raw(2, kind="ticket"), _raw(3, model="other"), _raw(4, kind="poem")]
    expected = pipeline(entries, NOW)
    drafts = pipeline.read(entries)
    assert drafts[0].ids is not None
    assert len(drafts[0].ids) < drafts[0].tokens
    assert [(False, False), (True, False), (False, True)] == [(d.work.routing, d.work.own_model) for d in drafts[:3]]
    assert 0.0 == drafts[3].tokens
    # When they are classified, then those for the model in production are not tokenized again
    tokenized: list[str] = []
    encode = Model.encode

    def noted(model: Model, texts: Sequence[str]) -> list[IdArray]:
        tokenized.extend(texts)
        return encode(model, texts)

    monkeypatch.setattr(Model, "encode", noted)
    outcomes = pipeline.classify(drafts, NOW)
    assert 1 == len(tokenized)
    assert [_scores(outcome) for outcome in expected] == [_scores(outcome) for outcome in outcomes]


def _scores(outcome: Outcome) -> list[dict[str, float]]:
    return [dict(each.scores) for each in outcome.predictions] if isinstance(outcome, Done) else []


def test_no_entries_no_outcomes(pipeline: Pipeline) -> None:
    assert [] == pipeline([], NOW)
