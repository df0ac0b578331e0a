"""What a new version would change on past tickets: counts, quality by what people said, and the command."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert, text

from schemas.errors import InferenceError, LabelsError
from schemas.labels import Label, LabelSet
from schemas.names import AssignmentStatus, ReviewState, Task
from schemas.routes import RouteSet, Rule
from schemas.settings import Settings
from schemas.tables import reviews
from tests.conftest import Fenliu
from tests.integration.outcomes import NOON, comment, ticket
from tests.models import Home
from worker import routes
from worker.desk import tickets
from worker.desk.past_tickets import Which, read_past
from worker.desk.route_trial import Trial, try_out
from worker.inference.classifier import Classifier, Job, Result
from worker.inference.scores import Scores
from worker.outcome import Done
from worker.sink import Sink

TEAMS = LabelSet((Label("billing"), Label("shipping"), Label("returns")))
CURRENT = RouteSet("default", TEAMS)


class Model:
    """A stand-in for a model: a text names its team and score. It fails on a text that says so."""

    def prepare(self, labels: LabelSet) -> LabelSet:
        return labels

    def classify(self, jobs: list[Job]) -> list[Result]:
        if any("broken" in job.text for job in jobs):
            raise InferenceError("broken")
        return [Result(None, self._scores(*job.text.split()), 3, 1) for job in jobs]

    def _scores(self, team: str, score: str) -> Scores:
        others = [name for name in TEAMS.names if name != team]
        scores = {team: float(score)} | {name: (1 - float(score)) / 2 for name in others}
        return Scores(team, float(score), scores, "encoder")  # type: ignore[arg-type]


@pytest.fixture
def store(engine: Engine) -> Callable[..., None]:
    """Write tickets as a worker does; the current version is number 3."""
    for threshold in (0.1, 0.2, None):
        routes.apply(
            engine, RouteSet("default", LabelSet((Label("billing", "", (), threshold), *TEAMS.labels[1:]))), "x"
        )

    def write(*outcomes: Done) -> None:
        Sink(engine).write(outcomes, NOON)

    return write


def trial_of(engine: Engine, settings: Settings, candidate: RouteSet, **which: Any) -> Trial:
    past = read_past(engine, candidate.name, Which(**which), settings)
    return try_out(candidate, past, Model(), settings)  # type: ignore[arg-type]


def test_every_ticket_is_counted_once_and_nothing_is_written(engine: Engine, settings: Settings, store: Any) -> None:
    # Given tickets whose text says what the model makes of them now
    triage = AssignmentStatus.TRIAGE
    store(
        ticket("stays", team="billing", text="billing 0.9"),
        ticket("moves", team="billing", text="shipping 0.9"),
        ticket("moves too", team="billing", text="shipping 0.8"),
        ticket("unsure", team="returns", text="returns 0.4"),
        ticket("sure", team="triage", status=triage, text="returns 0.7"),
        ticket("a person's", team="billing", text="shipping 0.9"),
        ticket("fails", team="billing", text="broken"),
        ticket("rule", team="billing", text="billing 0.9", meta={"plan": "enterprise"}),
        comment("no ticket"),
    )
    tickets.assign(engine, "shop", "a person's", "returns", by="li", why="x")
    everything = "SELECT (SELECT count(*) FROM predictions), (SELECT max(xmin::text::bigint) FROM assignments)"
    with engine.connect() as connection:
        before = connection.execute(text(everything)).one()
    # When a version with one rule is tried
    rule = Rule.of('meta.plan == "enterprise"', "shipping")
    trial = trial_of(engine, settings, replace(CURRENT, rules=(rule,)))
    # Then each is counted once
    assert (8, 1, 3, 1, 1, 1, 1, 1) == (
        trial.tickets, trial.stay, trial.move, trial.into_triage, trial.out_of_triage, trial.overridden, trial.failed,
        trial.by_rule,
    )  # fmt: skip
    assert {("billing", "shipping"): 3, ("returns", "triage"): 1, ("triage", "returns"): 1} == trial.moves
    assert {"billing": (4, 1), "shipping": (0, 3), "returns": (2, 2), "triage": (1, 1)} == trial.teams
    assert ({"tiny/1": 8}, {3: 8}) == (trial.made_by, trial.versions)
    # And there is an example of each kind of move, two of the commonest
    moved = [each.past.facts.id for each in trial.examples]
    assert 4 == len(moved)
    assert {"unsure", "sure"} < set(moved)
    with engine.connect() as connection:
        assert before == connection.execute(text(everything)).one()


def test_what_people_said_tells_which_version_is_better(engine: Engine, settings: Settings, store: Any) -> None:
    # Given two tickets that a person moved, one of them from where the model was right by its own thresholds, and
    # three that a reviewer looked at
    names = ("o1", "o2", "r1", "r2", "r3")
    store(*(ticket(name, team="billing", text="shipping 0.9") for name in names))
    tickets.assign(engine, "shop", "o1", "shipping", by="li", why="x")
    tickets.assign(engine, "shop", "o2", "billing", by="li", why="right")
    reviewed = [
        ("r1", ReviewState.ACCEPTED, None),
        ("r2", ReviewState.CORRECTED, "returns"),
        ("r2", ReviewState.CORRECTED, "shipping"),
        ("r3", ReviewState.SKIPPED, None),
    ]
    with engine.begin() as connection:
        for item_id, state, label in reviewed:
            row = {"source": "shop", "item_id": item_id, "task": Task.ROUTING, "reviewer": "li", "origin": "random"}
            connection.execute(insert(reviews).values(**row, state=state, label=label, predicted_label="billing"))
    # When a version is tried that sends all of them to shipping
    people = trial_of(engine, settings, CURRENT).people
    # Then of four that a person decided, before o2 and r1 were right, and now o1 and r2 are
    assert (4, 2, 2) == (people.tickets, people.before, people.after)


def test_which_tickets(engine: Engine, settings: Settings, store: Any) -> None:
    # Given a ticket an hour, one of another source, one of another route set, and one with labels of its own
    hours = [ticket(str(hour), hour * 3600, text="billing 0.9") for hour in range(5)]
    store(*hours, ticket("other", 5 * 3600, source="desk"), ticket("vip", 6 * 3600, route_set="vip"))

    def ids(**which: Any) -> list[str]:
        return [each.facts.id for each in read_past(engine, "default", Which(**which), settings)]

    assert ["other", "4", "3", "2", "1", "0"] == ids()
    assert ["other", "4"] == ids(last=2)
    assert ["4", "3"] == ids(since=NOON + timedelta(hours=3), source="shop")
    assert ["vip"] == [each.facts.id for each in read_past(engine, "vip", Which(), settings)]


def test_a_version_without_an_enabled_team_is_refused(engine: Engine, settings: Settings) -> None:
    disabled = RouteSet("default", LabelSet((Label("a"),)), frozenset("a"))
    with pytest.raises(LabelsError, match="no enabled team"):
        try_out(disabled, [], Model(), settings)  # type: ignore[arg-type]


def test_the_trial_decides_as_a_worker_would(engine: Engine, settings: Settings, store: Any, tmp_path: Path) -> None:
    # Given a real model, tickets, and batches of a few of them
    classifier = Classifier.load(Home(tmp_path).add(), run_tokens=64)
    texts = ["物流太慢", "退款", "登录账号", "很好" * 20, "物流退款"]
    store(*(ticket(str(number), number, text=each) for number, each in enumerate(texts)))
    small = settings.model_copy(update={"batch_entries": 2, "triage_threshold": 0.0})
    done: list[int] = []
    # When it is tried in batches and in one go, then nothing differs, and it is told how far it is
    candidate = RouteSet("default", LabelSet((Label("物流"), Label("退款"), Label("登录"))))
    past = read_past(engine, "default", Which(), settings)
    trial = try_out(candidate, past, classifier, small, done.append)
    at_once = try_out(candidate, past, classifier, small.model_copy(update={"batch_entries": 100}))
    assert [2, 4, 5] == done
    assert (trial.moves, trial.teams) == (at_once.moves, at_once.teams)
    assert 5 == trial.move


def test_the_command(fenliu: Fenliu, engine: Engine, store: Any, tmp_path: Path) -> None:
    home = Home(tmp_path / "home" / "models")
    home.add()
    file = tmp_path / "routes.yaml"
    file.write_text(
        "rules: [{when: 'meta.vip == true', team: 退款}]\n"
        "teams: {物流: {threshold: 0}, 退款: {threshold: 0}, billing: {threshold: 1}}\n"
    )
    # Given no past tickets, it says so
    empty = fenliu("routes", "test", str(file), FENLIU_MODEL="tiny")
    assert (0, "no past tickets of route set default to test on\n") == (empty.returncode, empty.stdout)
    # Given some, of which another model made the results
    store(
        ticket("1", 1, team="billing", text="物流", version="0"),
        ticket("2", 2, team="billing", text="退款", version="0", meta={"vip": True}),
        ticket("3", 3, team="shipping", text="退款", version="0"),
    )
    tickets.assign(engine, "shop", "3", "billing", by="li", why="x")
    shown = fenliu("routes", "test", str(file), FENLIU_MODEL="tiny")
    assert 0 == shown.returncode
    for said in (
        "3 tickets of route set default",
        "decided by a rule: 1",
        "people decided 1 of them: as stored 0 (0%) agree, with this file 0 (0%)",
        "stored results are 3 by tiny/0, and not by tiny/1",
    ):
        assert said in shown.stdout
    assert "3 of 3 tickets" in shown.stderr

    as_json = json.loads(fenliu("routes", "test", str(file), "--json", "--last", "2", "--model", "tiny").stdout)
    assert ("default", "tiny/1", 2, 1, 1) == tuple(
        as_json[name] for name in ("route_set", "model", "tickets", "overridden", "by_rule")
    )
    assert [{"from": "billing", "to": "退款", "tickets": 1}] == as_json["moves"]
    assert ("2", "meta.vip == true", 1.0) == tuple(as_json["examples"][0][name] for name in ("id", "rule", "to_score"))
    # And nothing was applied
    assert 3 == routes.current_version(engine, "default")
