"""The pulse against a real Redis: living workers are seen, held entries stay theirs, hung ones end."""

from __future__ import annotations

import time
from typing import Any

import pytest

from schemas.errors import InboxUnavailableError
from schemas.names import GROUP, Lane
from schemas.settings import Settings
from worker.held import Held
from worker.inbox import Inbox
from worker.pulse import EXIT_HUNG, Pulse, workers


def _pulse(client: Any, settings: Settings, held: Held, ended: list[int] | None = None) -> Pulse:
    inbox = Inbox(client, settings.keys, "me")
    inbox.ensure_groups()
    exits = ended if ended is not None else []
    return Pulse(
        client=client, inbox=inbox, held=held, slots=2, model="m/1", settings=settings, end_process=exits.append
    )


def test_a_living_worker_is_seen_and_a_stopped_one_is_not(redis_client: Any, settings: Settings) -> None:
    pulse = _pulse(redis_client, settings.model_copy(update={"heartbeat_s": 0.05}), Held())
    pulse.settled(3)
    pulse.start()
    until = time.monotonic() + 10
    while not workers(redis_client, settings.keys) and time.monotonic() < until:
        time.sleep(0.02)
    (seen,) = workers(redis_client, settings.keys)
    assert ("me", "2", "3", "m/1") == (seen["consumer"], seen["slots"], seen["items"], seen["model"])
    pulse.stopped.set()
    pulse.join(10)
    assert [] == workers(redis_client, settings.keys)


def test_what_is_held_does_not_go_stale(redis_client: Any, settings: Settings) -> None:
    # Given an entry that a slot has been working on for longer than claim_idle_s
    held = Held()
    pulse = _pulse(redis_client, settings, held)
    redis_client.xadd(settings.keys.inbox(Lane.LIVE), {"id": "1", "text": "好"})
    held.add(Inbox(redis_client, settings.keys, "me").read(Lane.LIVE, 1))
    time.sleep(0.2)
    # When the pulse beats, then its idle time starts again
    pulse.beat()
    (pending,) = redis_client.xpending_range(settings.keys.inbox(Lane.LIVE), GROUP, "-", "+", 10)
    assert pending["time_since_delivered"] < 200
    assert 1 == pending["times_delivered"]


def test_a_batch_that_hangs_ends_the_process(redis_client: Any, settings: Settings) -> None:
    ended: list[int] = []
    held = Held()
    quick = settings.model_copy(update={"heartbeat_s": 0.05, "batch_timeout_s": 0.1})
    pulse = _pulse(redis_client, quick, held, ended)
    with held.in_model():
        pulse.start()
        until = time.monotonic() + 10
        while not ended and time.monotonic() < until:
            time.sleep(0.02)
    pulse.stopped.set()
    pulse.join(10)
    assert ended[0] == EXIT_HUNG


def test_a_worker_is_still_seen_while_redis_takes_no_more_values(redis_client: Any, settings: Settings) -> None:
    # Given a worker that has been seen
    pulse = _pulse(redis_client, settings, Held())
    pulse.beat()
    key = settings.keys.worker("me")
    redis_client.expire(key, 2)
    # When Redis is at maxmemory
    redis_client.config_set("maxmemory", 1)
    try:
        with pytest.raises(InboxUnavailableError, match="maxmemory"):
            pulse.beat()
    finally:
        redis_client.config_set("maxmemory", 0)
    # Then what it said last stays
    assert redis_client.ttl(key) >= 9
