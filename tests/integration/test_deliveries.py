"""Deliveries that fail: when they are tried again, when they are given up, and how people have them made again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from schemas.errors import WebhookError
from schemas.names import DeliveryState
from schemas.settings import Settings
from tests.integration.receiver import Receiver, Request, accept
from tests.integration.relaying import add_webhook, assign, make_relay, one, quick, relaying, stream_of, through
from tests.waiting import wait_for
from worker.desk import deliveries as desk
from worker.desk import webhooks as webhooks_desk
from worker.desk.deliveries import Filter
from worker.desk.prune import Ages, prune


def failing(times: int, status: int = 500) -> Callable[[Request], None]:
    """A receiver that answers `status` so many times, and is well afterwards."""
    left = [status] * times

    def behave(request: Request) -> None:
        request.answer(left.pop() if left else 200)

    return behave


def attempts(engine: Engine) -> int:
    """Attempts made of a delivery that still waits."""
    return int(one(engine, "SELECT coalesce(max(attempts), 0) FROM deliveries WHERE state = 'waiting'"))


def failed(engine: Engine) -> list[tuple[int, int | None, str | None]]:
    """Attempts, status code and error of each delivery that failed."""
    found = desk.find(engine, Filter(state=DeliveryState.FAILED))
    return [(each.attempts, each.status_code, each.last_error) for each in found]


def test_a_call_that_fails_is_made_again_with_the_same_key(engine: Engine, settings: Settings) -> None:
    with Receiver(failing(3)) as receiver, relaying(quick(settings)) as relay:
        webhook_id = add_webhook(engine, receiver.url())
        assign(engine, "42", "billing")
        wait_for(lambda: through(engine), 30, "delivered")
    assert 4 == len(receiver.requests)
    assert 1 == len({each.key for each in receiver.requests}) == len({each.body for each in receiver.requests})
    [delivery] = desk.find(engine, Filter(webhook_id=webhook_id))
    assert (DeliveryState.DELIVERED, 4, 200, None) == (
        delivery.state, delivery.attempts, delivery.status_code, delivery.last_error,
    )  # fmt: skip
    assert (1, 3, 0) == (relay.tally.calls_delivered, relay.tally.calls_failed, relay.tally.deliveries_failed)


def test_after_the_last_attempt_it_has_failed_and_the_next_one_of_the_item_follows(
    engine: Engine, settings: Settings
) -> None:
    # Given a receiver that refuses what is said of one team
    def refuses_billing(request: Request) -> None:
        request.answer(400 if request.content["team"] == "billing" else 200)

    with Receiver(refuses_billing) as receiver, relaying(quick(settings, webhook_attempts=3)):
        add_webhook(engine, receiver.url())
        assign(engine, "42", "billing", "returns")
        wait_for(lambda: through(engine), 30, "all tried")
    assert [("42", "billing")] * 3 + [("42", "returns")] == receiver.told()
    assert [(3, 400, "the receiver answered 400")] == failed(engine)


def test_a_receiver_that_is_gone_is_not_asked_again(engine: Engine, settings: Settings) -> None:
    with Receiver(failing(1, 410)) as receiver, relaying(quick(settings)):
        add_webhook(engine, receiver.url())
        assign(engine, "42", "billing")
        wait_for(lambda: through(engine), 30, "tried")
    assert 1 == len(receiver.requests)
    assert [(1, 410, "410: the receiver is gone for good")] == failed(engine)


def test_the_time_of_the_next_attempt_outlives_the_relay(engine: Engine, settings: Settings) -> None:
    # Given a delivery that failed, and is to wait for an hour
    with Receiver(lambda request: request.answer(503, Retry_After="3600")) as receiver:
        add_webhook(engine, receiver.url())
        assign(engine, "42", "billing")
        hour = quick(settings, webhook_backoff_max_s=3_600)
        with relaying(hour):
            wait_for(
                lambda: 1 == one(engine, "SELECT coalesce(max(attempts), 0) FROM deliveries WHERE webhook_id > 0"),
                30,
                "tried",
            )
        due_s = one(
            engine, "SELECT extract(epoch FROM max(next_attempt_at) - now()) FROM deliveries WHERE webhook_id > 0"
        )
        assert 3_500 < due_s <= 3_600
        # when another relay runs, then it leaves it alone
        assign(engine, "43", "billing")
        with relaying(hour):
            wait_for(lambda: 2 == len(receiver.requests), 30, "the other one tried")
        assert ["42", "43"] == [item for item, _ in receiver.told()]


def test_a_receiver_that_hangs_holds_up_nobody_else_nor_the_end(engine: Engine, settings: Settings) -> None:
    # Given a webhook that never answers, and one that does
    settings = quick(settings, webhook_timeout_s=60.0)
    with Receiver(Request.hang) as hanging, Receiver() as healthy:
        add_webhook(engine, hanging.url())
        add_webhook(engine, healthy.url())
        for number in range(20):
            assign(engine, str(number), "billing")
        relay = make_relay(settings)
        relay.start()
        wait_for(lambda: 20 == relay.tally.calls_delivered, 30, "the healthy one has all")
        # when the relay ends, then it waits for no answer, and what ran is made again
        relay.stop()
        relay.join(10)
        assert not relay.is_alive()
        assert 1 == len(hanging.requests)
        hanging.behave = accept
        with relaying(settings):
            wait_for(lambda: through(engine), 30, "all delivered")
    assert hanging.requests[0].key == hanging.requests[1].key
    assert 21 == len(hanging.requests)
    assert 20 == len(healthy.requests)


def test_a_webhook_gets_several_calls_at_once_but_one_of_an_item(engine: Engine, settings: Settings) -> None:
    lock, running, most, items = threading.Lock(), [0], [0], set[str]()

    def slow(request: Request) -> None:
        with lock:
            assert request.content["item_id"] not in items
            items.add(request.content["item_id"])
            running[0] += 1
            most[0] = max(most[0], running[0])
        request.ended.wait(0.03)
        with lock:
            running[0] -= 1
            items.discard(request.content["item_id"])
        request.answer(200)

    with Receiver(slow) as receiver:
        add_webhook(engine, receiver.url())
        for number in range(10):
            assign(engine, str(number), "a", "b", "c")
        with relaying(quick(settings)):
            wait_for(lambda: through(engine), 30, "all delivered")
    assert 30 == len(receiver.requests)
    assert 2 <= most[0] <= 4


def test_a_private_address_is_refused_when_it_comes_to_it(engine: Engine, settings: Settings) -> None:
    with Receiver() as receiver, relaying(quick(settings, webhook_allow_private=False, webhook_attempts=1)):
        add_webhook(engine, receiver.url())
        assign(engine, "42", "billing")
        wait_for(lambda: through(engine), 30, "tried")
    assert [] == receiver.requests
    [(_, _, error)] = failed(engine)
    assert "127.0.0.1 is no public address" in str(error)


# --- what people do --------------------------------------------------------------------------------------------------


def test_what_failed_is_replayed_in_order(engine: Engine, redis_client: Any, settings: Settings) -> None:
    # Given a ticket's announcements, which a receiver refused, and the teams' streams got
    settings = quick(settings, webhook_attempts=1)
    with Receiver(lambda request: request.answer(500)) as receiver:
        webhook_id = add_webhook(engine, receiver.url())
        for item in ("1", "2"):
            assign(engine, item, "a", "b", "c")
        with relaying(settings):
            wait_for(lambda: through(engine), 30, "all tried")
            keys = [each.key for each in receiver.requests]
            receiver.requests.clear()
            receiver.behave = accept
            # when what failed is replayed
            assert 0 == desk.replay(engine, Filter(state=DeliveryState.FAILED, webhook_id=webhook_id + 1))
            assert 6 == desk.replay(engine, Filter(state=DeliveryState.FAILED, webhook_id=webhook_id))
            wait_for(lambda: through(engine), 30, "delivered")
    # then the receiver has all of them, in order for each item, with the keys of the first time
    for item in ("1", "2"):
        assert ["a", "b", "c"] == [team for told, team in receiver.told() if told == item]
    assert sorted(keys) == sorted(each.key for each in receiver.requests)
    # and the streams got nothing again
    assert 2 == len(stream_of(redis_client, settings, "a"))
    # A stream's delivery can be replayed by its id.
    stream_ids = [each.id for each in desk.find(engine, Filter(team="a")) if each.webhook_id is None]
    assert 2 == desk.replay(engine, Filter(ids=stream_ids))
    with relaying(settings):
        wait_for(lambda: through(engine), 30, "delivered again")
    assert 4 == len(stream_of(redis_client, settings, "a"))


def test_disabling_gives_up_what_waits_and_enabling_lets_it_be_replayed(engine: Engine, settings: Settings) -> None:
    settings = quick(settings, webhook_backoff_s=3_600, webhook_backoff_max_s=3_600)
    with Receiver(failing(1)) as receiver, relaying(settings):
        webhook_id = add_webhook(engine, receiver.url())
        assign(engine, "42", "billing", "returns")
        wait_for(lambda: 1 == attempts(engine), 30, "tried once")
        assert 2 == webhooks_desk.disable(engine, webhook_id)
        wait_for(lambda: through(engine), 30, "nothing waits")
        assert 0 == desk.replay(engine, Filter(state=DeliveryState.FAILED))
        assign(engine, "43", "billing")
        wait_for(lambda: through(engine), 30, "nothing waits")
        webhooks_desk.enable(engine, webhook_id)
        assert 2 == desk.replay(engine, Filter(state=DeliveryState.FAILED))
        wait_for(lambda: through(engine), 30, "delivered")
    assert [("42", "billing"), ("42", "billing"), ("42", "returns")] == receiver.told()


def test_removing_a_webhook_lets_its_announcements_be_through(engine: Engine, settings: Settings) -> None:
    settings = quick(settings, webhook_backoff_s=3_600, webhook_backoff_max_s=3_600)
    with Receiver(lambda request: request.answer(500)) as receiver, relaying(settings):
        webhook_id = add_webhook(engine, receiver.url())
        assign(engine, "42", "billing")
        wait_for(lambda: 1 == attempts(engine), 30, "tried once")
        webhooks_desk.remove(engine, webhook_id)
        wait_for(lambda: through(engine), 30, "through")
    assert [None] == [each.webhook_id for each in desk.find(engine, Filter())]
    with pytest.raises(WebhookError, match="there is no webhook"):
        webhooks_desk.remove(engine, webhook_id)


def test_only_what_everybody_got_is_pruned(engine: Engine, settings: Settings) -> None:
    # Given announcements that were delivered, that failed with a receiver, and that wait
    settings = quick(settings, webhook_attempts=1)
    with Receiver(lambda request: request.answer(500 if request.content["team"] == "b" else 200)) as receiver:
        add_webhook(engine, receiver.url())
        for number in range(5):
            assign(engine, str(number), "a")
        assign(engine, "failed", "b")
        with relaying(settings):
            wait_for(lambda: through(engine), 30, "all tried")
    assign(engine, "waiting", "a")
    # When the old ones are pruned, there are none; then those that were delivered go, with their deliveries
    assert 0 == prune(engine, Ages(announcements=timedelta(hours=1)))["outbox"]
    assert 5 == prune(engine, Ages(announcements=timedelta(0)), chunk_rows=2)["outbox"]
    with engine.begin() as connection:
        left = connection.execute(text("SELECT item_id FROM outbox ORDER BY id")).scalars().all()
        assert ["failed", "waiting"] == left
        assert 2 == connection.execute(text("SELECT count(*) FROM deliveries")).scalar_one()
        behind = desk.backlog(connection)
    assert (1, 1) == (behind.waiting, behind.failed)
    assert 0 < behind.oldest_age_s < 3_600
