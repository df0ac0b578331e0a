"""What people do to tickets: overriding the model, giving back, examples; and the commands."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine, insert, literal, select, text

from schemas.errors import LabelsError, PermanentError
from schemas.labels import Label, LabelSet
from schemas.names import AssignmentStatus, Kind, Stage
from schemas.routes import RouteSet
from schemas.settings import Settings
from schemas.tables import deliveries, outbox
from tests.conftest import Fenliu
from tests.integration.outcomes import NOON, comment, expired, ticket
from tests.integration.relaying import add_webhook
from worker import routes
from worker.desk import ticket_views, tickets
from worker.desk.tickets import Moved
from worker.outcome import Outcome
from worker.sink import Sink

TEAMS = LabelSet((Label("billing"), Label("shipping", threshold=0.9), Label("old")))
ASSIGNED = AssignmentStatus.OVERRIDDEN

Store = Callable[..., None]


@pytest.fixture
def store(engine: Engine) -> Store:
    """Write outcomes as a worker does; three versions of the teams are there."""
    for threshold in (0.1, 0.2, 0.9):
        teams = (TEAMS.labels[0], Label("shipping", threshold=threshold), TEAMS.labels[2])
        routes.apply(engine, RouteSet("default", LabelSet(teams), frozenset(["old"])), "mei")

    def write(*outcomes: Outcome) -> None:
        Sink(engine).write(outcomes, NOON)

    return write


def rows(engine: Engine, statement: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def held(engine: Engine) -> list[tuple[Any, ...]]:
    return rows(engine, "SELECT team, status, score FROM assignments")


def told(engine: Engine) -> list[str]:
    return [team for (team,) in rows(engine, "SELECT team FROM outbox ORDER BY id")]


def history(engine: Engine) -> list[tuple[Any, ...]]:
    return rows(engine, "SELECT who, from_team, to_team, why FROM assignment_events ORDER BY id")


def test_a_person_overrides_the_model_and_no_later_result_takes_it_away(engine: Engine, store: Store) -> None:
    # Given a ticket that the model gave to billing
    store(ticket("T1", team="billing"))
    # When a person gives it to shipping, and the ticket is scored again, by another model too
    moved = tickets.assign(engine, "shop", "T1", "shipping", by="li", why="包裹丢了")
    store(ticket("T1", 5, team="billing"))
    store(ticket("T1", 9, team="billing", version="2"))
    # Then it stays there, and each change is in the history and was told once
    assert Moved("shop", "T1", "shipping", ASSIGNED, "billing") == moved
    assert [("shipping", "overridden", None)] == held(engine)
    assert [("tiny 1", None, "billing", "first result"), ("li", "billing", "shipping", "包裹丢了")] == history(engine)
    assert ["billing", "shipping"] == told(engine)
    ((payload,),) = rows(engine, "SELECT payload FROM outbox ORDER BY id DESC LIMIT 1")
    assert ("T1", "shipping", "billing", "overridden", "li") == tuple(
        payload[name] for name in ("item_id", "team", "from_team", "status", "by")
    )


def test_the_team_that_it_has_is_confirmed_and_nobody_is_told(engine: Engine, store: Store) -> None:
    store(ticket("T1", team="billing"))
    moved = tickets.assign(engine, "shop", "T1", "billing", by="li", why="right")
    store(ticket("T1", 5, team="shipping"))
    assert "billing" == moved.team == moved.from_team
    assert [("billing", "overridden", None)] == held(engine)
    assert ("li", "billing", "billing", "right") == history(engine)[-1]
    assert ["billing"] == told(engine)


def test_a_ticket_given_back_goes_where_its_newest_result_says(
    engine: Engine, store: Store, settings: Settings
) -> None:
    # Given a ticket with a person's team, and a newer result since then
    store(ticket("T1", team="billing"))
    tickets.assign(engine, "shop", "T1", "triage", by="li", why="unclear")
    store(ticket("T1", 5, team="shipping", score=0.8))
    # When it is given back, then shipping needs 0.9 in version 3, which decided: triage, and nobody needs to be told
    moved = tickets.release(engine, "shop", "T1", settings, by="li")
    assert Moved("shop", "T1", "triage", AssignmentStatus.TRIAGE, "triage") == moved
    # And later results decide again
    store(ticket("T1", 9, team="shipping", score=0.95))
    assert [("shipping", "auto", 0.95)] == held(engine)
    assert ["billing", "triage", "shipping"] == told(engine)
    assert ("li", "triage", "triage", "given back to the model") == history(engine)[-2]
    # And giving it back again changes nothing
    before = history(engine)
    tickets.release(engine, "shop", "T1", settings, by="li")
    assert before == history(engine)


def test_what_a_rule_decided_is_given_back_to_the_rule(engine: Engine, store: Store, settings: Settings) -> None:
    done = ticket("T1", team="old", score=1.0)
    sentiment, routing = done.predictions
    store(done._replace(predictions=(sentiment, routing._replace(stage=Stage.RULE))))
    tickets.assign(engine, "shop", "T1", "billing", by="li", why="x")
    moved = tickets.release(engine, "shop", "T1", settings, by="li", why="the rule was right")
    assert ("old", AssignmentStatus.AUTO) == (moved.team, moved.status)


def test_a_ticket_that_was_never_routed_can_be_given_to_a_team(engine: Engine, store: Store) -> None:
    # Given a ticket that came too late for the model
    store(expired("T1", kind=Kind.TICKET))
    moved = tickets.assign(engine, "shop", "T1", "billing", by="li", why="by phone")
    assert (None, "billing") == (moved.from_team, moved.team)
    # Then a later result does not take it away
    store(ticket("T1", 5, team="shipping"))
    assert [("billing", "overridden", None)] == held(engine)
    assert ["billing"] == told(engine)


@pytest.mark.parametrize(
    ("item_id", "team", "why", "said"),
    [
        ("T1", "nobody", "x", "'nobody' is no team of route set 'default'; its teams are: billing, shipping, triage"),
        ("T1", "old", "x", "its teams are: billing, shipping, triage"),
        ("T9", "billing", "x", "there is no ticket 'T9' of source 'shop'"),
        ("C1", "billing", "x", "shop/C1 is a comment, which no team gets"),
        ("T1", "billing", " ", "why: say it in 1 to 2000 characters"),
        ("T1", "", "x", "team: say it in 1 to 200 characters"),
    ],
)
def test_what_cannot_be_done_says_why_and_changes_nothing(
    engine: Engine, store: Store, item_id: str, team: str, why: str, said: str
) -> None:
    store(ticket("T1", team="billing"), comment("C1"))
    with pytest.raises(PermanentError) as caught:
        tickets.assign(engine, "shop", item_id, team, by="li", why=why)
    assert said in str(caught.value)
    assert [("billing", "auto", 0.8)] == held(engine)
    assert 1 == len(history(engine))


def test_any_team_can_be_meant_if_it_is_said(engine: Engine, store: Store) -> None:
    store(ticket("T1", team="billing"))
    assert "legal" == tickets.assign(engine, "shop", "T1", "legal", by="li", why="x", any_team=True).team


def test_a_person_and_workers_at_once_leave_the_persons_team(engine: Engine, store: Store) -> None:
    # Given a ticket that workers score again and again while a person assigns it
    store(ticket("T1", team="billing"))
    start = threading.Barrier(5)

    def score(worker: int) -> None:
        start.wait()
        for step in range(10):
            store(ticket("T1", worker * 100 + step + 1, team=("billing", "shipping")[step % 2]))

    def assign() -> None:
        start.wait()
        for _ in range(5):
            tickets.assign(engine, "shop", "T1", "triage", by="li", why="x")

    with ThreadPoolExecutor(5) as pool:
        running = [*(pool.submit(score, worker) for worker in range(4)), pool.submit(assign)]
        for each in running:
            each.result()
    # Then the person's team is what stays, and the history is one chain of what was told
    assert [("triage", "overridden", None)] == held(engine)
    chain = history(engine)
    assert [to for _, _, to, _ in chain[:-1]] == [come_from for _, come_from, _, _ in chain[1:]]
    assert [to for _, come_from, to, _ in chain if come_from != to] == told(engine)


def test_a_tickets_text_becomes_an_example_in_a_new_version(engine: Engine, store: Store) -> None:
    store(ticket("T1", team="billing", text="扣了两次钱"))
    applied = tickets.add_example(engine, "shop", "T1", "shipping", by="li")
    again = tickets.add_example(engine, "shop", "T1", "shipping", by="li")
    stored = routes.read(engine, "default")
    assert stored is not None
    assert (4, 4, ()) == (applied.version, again.version, again.changes)
    assert ("扣了两次钱",) == stored.route_set.labels.labels[1].examples
    assert (frozenset(["old"]), "li") == (stored.route_set.disabled, stored.created_by)
    with pytest.raises(LabelsError, match="has no team 'nobody'"):
        tickets.add_example(engine, "shop", "T1", "nobody", by="li")


def test_a_list_by_team_and_status(engine: Engine, store: Store) -> None:
    store(ticket("T1", team="billing"), ticket("T2", team="shipping"))
    store(ticket("T3", team="triage", status=AssignmentStatus.TRIAGE))
    tickets.assign(engine, "shop", "T1", "shipping", by="li", why="x")

    def ids(**which: Any) -> list[str]:
        return [line.item_id for line in ticket_views.list_(engine, **which)]

    assert ["T1", "T3", "T2"] == ids()
    assert ["T1", "T2"] == ids(team="shipping")
    assert ["T3"] == ids(status=AssignmentStatus.TRIAGE)
    assert [] == ids(source="desk")
    assert ["T1"] == ids(limit=1)


def test_what_may_be_a_token_in_a_webhooks_url_is_not_shown(engine: Engine, store: Store) -> None:
    store(ticket("T1", team="billing"))
    webhook_id = add_webhook(engine, "https://desk.example/hook?token=abc")
    with engine.begin() as connection:
        told_it = select(outbox.c.id, literal(webhook_id))
        connection.execute(insert(deliveries).from_select(["outbox_id", "webhook_id"], told_it))
    view = ticket_views.show(engine, "shop", "T1")
    assert view
    assert ["https://desk.example/hook?****"] == [each["receiver"] for each in view.deliveries]


def test_the_commands(fenliu: Fenliu, engine: Engine, store: Store) -> None:
    store(ticket("T1", team="billing", text="包裹没到"), ticket("T1", team="billing", source="desk"), comment("C1"))
    # Given an id that two sources have: the source must be named
    unclear = fenliu("tickets", "assign", "T1", "shipping", "--why", "x")
    assert 1 == unclear.returncode
    assert "several sources have a ticket 'T1'; add --source with one of desk, shop" in unclear.stderr

    moved = fenliu("tickets", "assign", "T1", "shipping", "--by", "li", "--why", "包裹丢了", "--source", "shop")
    assert (0, "shop/T1: billing → shipping\n") == (moved.returncode, moved.stdout)

    shown = fenliu("tickets", "show", "T1", "--source", "shop")
    for said in ("包裹没到", "team: shipping (overridden)", "billing 0.8000", "version 3", "li", "包裹丢了", "tiny 1"):
        assert said in shown.stdout
    as_json = json.loads(fenliu("tickets", "show", "T1", "--source", "shop", "--json").stdout)
    assert ("shipping", 2, 2) == (as_json["assignment"]["team"], len(as_json["history"]), len(as_json["deliveries"]))

    listed = fenliu("tickets", "list", "--status", "overridden", "--json")
    assert [("shop", "T1", "shipping")] == [
        (line["source"], line["item_id"], line["team"]) for line in map(json.loads, listed.stdout.splitlines())
    ]
    assert "desk/T1" in fenliu("tickets", "list", "--team", "billing").stdout

    released = fenliu("tickets", "release", "T1", "--source", "shop", "--json")
    assert ("billing", "auto") == tuple(json.loads(released.stdout)[name] for name in ("team", "status"))

    missing = fenliu("tickets", "show", "C1")
    assert (1, "error: there is no ticket 'C1'\n") == (missing.returncode, missing.stderr)
    assert 2 == fenliu("tickets", "assign", "T1", "billing").returncode  # no --why
