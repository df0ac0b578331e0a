"""The relay against a real Redis and Postgres: what is announced arrives, in order, whatever happens on the way."""

from __future__ import annotations

import json
import random
import threading
from collections import defaultdict
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from schemas.names import ADVISORY_LOCK_RELAY
from schemas.settings import Settings
from tests.integration.outcomes import NOON, ticket
from tests.integration.receiver import Receiver, Request
from tests.integration.relaying import add_webhook, assign, make_relay, one, quick, relaying, stream_of, through
from tests.waiting import wait_for
from worker.relay.lead import Lead
from worker.relay.streams import Streams
from worker.relay.webhook import Caller
from worker.sink import Sink

LEADS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = :key AND granted"
LEADER = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = :key AND granted"
# Keys of 64 bits are shown as two halves.
OBJID = ADVISORY_LOCK_RELAY % 2**32
HERE = " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"


def end_leader(engine: Engine) -> None:
    """End the connection that holds the lead, as a server that restarts does."""
    with engine.begin() as connection:
        connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM ({LEADER + HERE}) AS leader"), {"key": OBJID})


def test_a_team_hears_of_its_ticket_on_its_stream(engine: Engine, redis_client: Any, settings: Settings) -> None:
    # Given a ticket that gets a team, and then another
    settings = quick(settings)
    assign(engine, "42", "billing", "returns")
    # when the relay runs
    with relaying(settings) as relay:
        wait_for(lambda: through(engine), 30, "all delivered")
    # then each team has it, as flat strings, with the other team and a number that grows
    [first], [second] = stream_of(redis_client, settings, "billing"), stream_of(redis_client, settings, "returns")
    assert ("assigned", "shop", "42", "billing", "", "0.8") == tuple(
        first[name] for name in ("kind", "source", "item_id", "team", "from_team", "score")
    )
    assert ("returns", "billing") == (second["team"], second["from_team"])
    assert int(first["id"]) < int(second["id"])
    assert {"label": "billing", "route_set_version": 3}.items() <= json.loads(first["payload"]).items()
    assert (2, 2, 0) == (relay.tally.announcements, relay.tally.stream_entries, relay.tally.calls_delivered)


def test_a_ticket_that_stays_with_its_team_is_announced_once(
    engine: Engine, redis_client: Any, settings: Settings
) -> None:
    settings = quick(settings)
    assign(engine, "42", "billing", "billing", "billing")
    # Scored again by another version of the model, too.
    Sink(engine).write([ticket("42", 9, "billing", version="2", score=0.99)], NOON)
    with relaying(settings):
        wait_for(lambda: through(engine), 30, "all delivered")
    assert ["42"] == [each["item_id"] for each in stream_of(redis_client, settings, "billing")]


def test_a_stream_keeps_about_as_many_entries_as_it_may(engine: Engine, redis_client: Any, settings: Settings) -> None:
    settings = quick(settings, team_max_entries=100)
    Sink(engine).write([ticket(str(number), 0, "billing") for number in range(1_200)], NOON)
    with relaying(settings):
        wait_for(lambda: through(engine), 30, "all delivered")
    # Redis trims whole nodes of its tree, of 100 entries.
    assert 100 <= redis_client.xlen(settings.keys.team("billing")) <= 300


def test_webhooks_of_the_team_and_of_all_teams_are_called_and_no_others(engine: Engine, settings: Settings) -> None:
    with Receiver() as receiver, relaying(quick(settings)):
        add_webhook(engine, receiver.url("/all"))
        add_webhook(engine, receiver.url("/billing"), "billing")
        disabled = add_webhook(engine, receiver.url("/disabled"), "billing")
        with engine.begin() as connection:
            connection.execute(text("UPDATE webhooks SET enabled = false WHERE id = :id"), {"id": disabled})
        assign(engine, "42", "billing", "returns")
        wait_for(lambda: through(engine), 30, "all delivered")
    paths = sorted((each.path, each.content["team"]) for each in receiver.requests)
    assert [("/all", "billing"), ("/all", "returns"), ("/billing", "billing")] == paths


@pytest.mark.parametrize("seed", range(3))
def test_each_receiver_hears_of_an_item_in_order_whatever_fails(
    engine: Engine, redis_client: Any, settings: Settings, seed: int
) -> None:
    # Given receivers that fail a third of the calls, each in its own way, and more relays than one
    rng = random.Random(seed)
    lock = threading.Lock()
    accepted: dict[str, list[tuple[str, int]]] = defaultdict(list)

    def unreliable(request: Request) -> None:
        with lock:
            roll = rng.random()
        if roll < 0.1:
            request.close()
        elif roll < 0.35:
            request.answer(rng.choice([500, 503, 429, 404, 302]))
        else:
            with lock:
                accepted[request.path].append((request.content["item_id"], request.content["id"]))
            if roll < 0.4:
                request.close()  # taken, but the caller never hears of it
            else:
                request.answer(204, Content_Length="0")

    settings = quick(settings, webhook_attempts=1_000)
    with Receiver(unreliable) as receiver:
        for name in ("/a", "/b"):
            add_webhook(engine, receiver.url(name))
        with relaying(settings), relaying(settings):
            # when tickets change hands again and again, and the leader is ended now and then
            for step in range(6):
                for item in rng.sample("12345678", 5):
                    assign(engine, item, rng.choice(["x", "y", "z"]), first_s=step)
                if step % 3 == 2:
                    end_leader(engine)
            wait_for(lambda: through(engine), 60, "all delivered")

    # then every receiver has heard all of each item at least once, none before its predecessor
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT item_id, id FROM outbox ORDER BY id")).all()
    announced: dict[str, list[int]] = defaultdict(list)
    for item_id, outbox_id in rows:
        announced[item_id].append(outbox_id)
    for heard in accepted.values():
        firsts: dict[str, list[int]] = defaultdict(list)
        for item_id, outbox_id in heard:
            if outbox_id not in firsts[item_id]:
                firsts[item_id].append(outbox_id)
        assert announced == firsts
    assert {"/a", "/b"} == set(accepted)


def test_one_relay_delivers_and_another_takes_over(engine: Engine, redis_client: Any, settings: Settings) -> None:
    # Given two relays
    settings = quick(settings)
    with relaying(settings) as first, relaying(settings) as second:
        wait_for(lambda: first.tally.leads or second.tally.leads, 30, "a leader")
        assert 1 == one(engine, LEADS + HERE, key=OBJID)
        leader, follower = (first, second) if first.tally.leads else (second, first)
        assign(engine, "1", "billing")
        wait_for(lambda: through(engine), 30, "delivered")
        # when the one that leads ends
        leader.stop()
        leader.join(10)
        # then the other goes on, and each ticket was announced once
        assign(engine, "2", "billing")
        wait_for(lambda: through(engine), 30, "delivered by the other")
        assert follower.tally.leads
        assert (1, 1) == (leader.tally.stream_entries, follower.tally.stream_entries)
    assert ["1", "2"] == [each["item_id"] for each in stream_of(redis_client, settings, "billing")]


def test_a_leader_that_is_frozen_loses_the_lead(engine: Engine) -> None:
    # Given a leader that asks nothing any more, and whose connection lives on
    with Lead(engine, 0.2) as frozen, Lead(engine, 60.0) as next_one:
        assert frozen.take()
        # then another one gets the lead, and the first one cannot write what it had in mind
        wait_for(next_one.take, 30, "the lead is taken over")
        with pytest.raises(DBAPIError):
            frozen.connection.execute(text("SELECT 1"))


def test_a_leader_that_dies_between_adding_and_marking_says_it_twice_and_never_less(
    engine: Engine, redis_client: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a relay whose connection is ended once it has added to the stream
    settings = quick(settings)
    add = Streams._add
    died: list[bool] = []

    def add_and_die(self: Streams, due: Any) -> Any:
        answers = add(self, due)
        if not died:
            died.append(True)
            end_leader(engine)
        return answers

    monkeypatch.setattr(Streams, "_add", add_and_die)
    assign(engine, "42", "billing")
    with relaying(settings):
        wait_for(lambda: through(engine), 30, "all delivered")
    # Then it is there twice, with the same id
    first, second = stream_of(redis_client, settings, "billing")
    assert first == second


def test_a_key_that_is_no_stream_fails_for_its_team_alone(
    engine: Engine, redis_client: redis.Redis, settings: Settings
) -> None:
    settings = quick(settings, webhook_attempts=2)
    redis_client.set(settings.keys.team("billing"), "somebody's")
    assign(engine, "1", "billing")
    assign(engine, "2", "returns")
    with relaying(settings):
        wait_for(lambda: through(engine), 30, "all tried")
    assert ["2"] == [each["item_id"] for each in stream_of(redis_client, settings, "returns")]
    with engine.connect() as connection:
        [(attempts, error)] = connection.execute(
            text("SELECT attempts, last_error FROM deliveries WHERE state = 'failed'")
        ).all()
    assert 2 == attempts
    assert "WRONGTYPE" in error


def test_an_idle_relay_does_not_spin(engine: Engine, settings: Settings) -> None:
    # Given a relay with nothing to do but one delivery that waits for its time
    settings = quick(settings, relay_poll_s=60, webhook_backoff_s=3_600, webhook_backoff_max_s=3_600)
    rounds: list[int] = []
    with Receiver(lambda request: request.answer(500)) as receiver:
        add_webhook(engine, receiver.url())
        assign(engine, "42", "billing")
        relay = make_relay(settings)
        round_ = relay._round

        def counted(*arguments: Any) -> bool:
            rounds.append(1)
            return round_(*arguments)

        relay._round = counted  # type: ignore[method-assign]
        relay.start()
        wait_for(lambda: 1 == one(engine, "SELECT coalesce(max(attempts), 0) FROM deliveries"), 30, "tried")
        # when there is nothing more to do, then it rests until it is asked to end, and does so at once
        done = len(rounds)
        relay.stop()
        relay.join(5)
        assert not relay.is_alive()
    assert done <= len(rounds) <= done + 1 <= 8


def test_a_relay_goes_on_after_a_fault_of_its_own(engine: Engine, redis_client: Any, settings: Settings) -> None:
    # Given a relay that cannot make calls at first, for a reason that nobody has thought of
    settings = quick(settings)
    faults = [RuntimeError("unheard of")]

    def caller() -> Caller:
        if faults:
            raise faults.pop()
        return Caller(settings)

    with Receiver() as receiver, relaying(settings, caller):
        add_webhook(engine, receiver.url())
        assign(engine, "42", "billing")
        wait_for(lambda: through(engine), 30, "delivered all the same")
    assert [("42", "billing")] == receiver.told()
