"""Tickets arrive at their teams: with real workers, one of which is killed, and servers that go away."""

from __future__ import annotations

import signal
from typing import Any

from schemas.errors import DatabaseUnavailableError
from schemas.names import ADVISORY_LOCK_RELAY
from schemas.signature import verify
from tests.acceptance.conftest import Place, Servers
from tests.integration.receiver import Receiver, accept
from tests.integration.relaying import add_webhook, assign, quick, relaying, stream_of, through
from tests.waiting import wait_for
from worker.desk import tickets

SECRET = "whsec_acceptance"
TICKET = {"id": "t1", "kind": "ticket", "source": "shop", "text": "我的快递三天了还没有发货，物流一直不更新"}
RELAY = {"FENLIU_WEBHOOK_ALLOW_PRIVATE": "true", "FENLIU_RELAY_POLL_S": "0.1"}
LEADERS = f"""
    SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database
    WHERE locktype = 'advisory' AND objid = {ADVISORY_LOCK_RELAY % 2**32} AND granted AND datname = current_database()
"""


def test_a_ticket_reaches_its_team_and_an_override_the_next_in_order(place: Place) -> None:
    # Given two workers, one of which leads, and a webhook
    place.apply_sample_routes()
    with Receiver() as receiver:
        add_webhook(place.engine, receiver.url(), secret=SECRET)
        first = place.workers.start(**RELAY)
        wait_for(lambda: place.one(LEADERS) == 1, 60, "a worker that leads")
        second = place.workers.start(**RELAY)
        # when a ticket comes in
        place.add([TICKET])
        wait_for(lambda: len(receiver.requests) == 1, 60, place.workers.log_of(first))
        # and the leader is killed, and a person gives the ticket to another team
        team = place.one("SELECT team FROM assignments")
        wait_for(lambda: "collecting" in place.workers.log_of(second), 60, "the second worker is ready")
        wait_for(lambda: through(place.engine), 30, "delivered")
        first.kill()
        moved = tickets.assign(place.engine, "shop", "t1", "退换货" if team != "退换货" else "物流配送",
                               by="mei", why="wrong parcel", any_team=True)  # fmt: skip
        # and the same text comes again, which changes nothing any more
        place.add([TICKET])
        wait_for(lambda: len(receiver.requests) == 2, 60, place.workers.log_of(second))
        place.wait_until_empty(30)
        wait_for(lambda: through(place.engine), 30, "delivered")
        second.send_signal(signal.SIGTERM)
        assert 0 == second.wait(40), place.workers.log_of(second)

    # then the webhook heard of both, in order, signed, each with a key of its own
    assert [("t1", team), ("t1", moved.team)] == receiver.told()
    told = [request.content for request in receiver.requests]
    assert [None, team] == [each["from_team"] for each in told]
    assert told[0]["id"] < told[1]["id"]
    assert all(verify(SECRET, each.headers["x-fenliu-signature"], each.body) for each in receiver.requests)
    assert 2 == len({each.key for each in receiver.requests})
    # and each team's stream
    for each in told:
        [entry] = stream_of(place.client, place.settings, each["team"])
        assert (str(each["id"]), "t1", each["from_team"] or "") == (entry["id"], entry["item_id"], entry["from_team"])
    # and nothing of it is in the logs
    logs = place.workers.log_of(first) + place.workers.log_of(second)
    assert SECRET not in logs
    assert TICKET["text"] not in logs


def test_servers_that_go_away_delay_deliveries_and_lose_none(own_place: Place, servers: Servers) -> None:
    # Given a relay, a webhook and streams
    place = own_place
    settings = quick(place.settings)

    def heard(item_id: str) -> bool:
        return any(item == item_id for item, _ in receiver.told())

    with Receiver(accept) as receiver, relaying(settings) as relay:
        add_webhook(place.engine, receiver.url())
        assign(place.engine, "1", "billing")
        wait_for(lambda: through(place.engine), 30, "delivered")
        # when Redis is away, then webhooks are called all the same
        servers.kill(servers.redis)
        assign(place.engine, "2", "billing")
        wait_for(lambda: heard("2"), 30, "called without Redis")
        assert not through(place.engine)
        servers.start(servers.redis)
        wait_for(lambda: through(place.engine), 30, "added once Redis is there again")
        # and when Postgres is restarted, the relay takes the lead again
        servers.restart(servers.postgres, away_s=0.3)
        _until_written(place, "3")
        wait_for(lambda: through(place.engine), 30, "delivered after the restart")
        assert relay.tally.leads
    entries: list[Any] = stream_of(place.client, settings, "billing")
    assert ["1", "2", "3"] == list(dict.fromkeys(entry["item_id"] for entry in entries))
    assert ["1", "2", "3"] == list(dict.fromkeys(item for item, _ in receiver.told()))


def _until_written(place: Place, item_id: str) -> None:
    """Postgres may still be starting."""

    def written() -> bool:
        try:
            assign(place.engine, item_id, "billing")
        except DatabaseUnavailableError:
            return False
        return True

    wait_for(written, 30, "a ticket written after the restart")
