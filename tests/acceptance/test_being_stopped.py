"""Workers, Redis and Postgres are stopped and killed in the middle: nothing is lost, nothing is done twice."""

from __future__ import annotations

import signal
import time

from schemas.names import GROUP, Lane
from tests.acceptance.conftest import Place, Servers
from tests.waiting import wait_for

ITEMS = 5_000
TICKETS = ITEMS // 10
STREETS = ("物流太慢了", "客服很耐心", "包装破了", "味道不错", "退款三天了还没到", "屏幕很清晰", "再也不会来了")


def _items() -> list[dict[str, str]]:
    return [
        {"id": str(n), "text": f"第{n}单：{STREETS[n % len(STREETS)]}", "kind": "ticket" if n % 10 == 0 else "comment"}
        for n in range(ITEMS)
    ]


def _done(place: Place) -> int:
    return int(place.one("SELECT count(*) FROM items WHERE state = 'done'"))


def _assert_all_there(place: Place) -> None:
    """Every item, one current row each per task, no dead letters, nothing pending, empty streams."""
    assert (0, 0) == place.left()
    assert _done(place) == ITEMS
    current = "SELECT task, count(*), count(DISTINCT (source, item_id)) FROM predictions WHERE current GROUP BY 1"
    assert sorted(place.rows(current)) == [("routing", TICKETS, TICKETS), ("sentiment", ITEMS, ITEMS)]
    assert place.one("SELECT count(*) FROM predictions") == ITEMS + TICKETS
    assert place.one("SELECT count(*) FROM assignments") == TICKETS
    assert place.one("SELECT count(*) FROM outbox") == TICKETS
    assert 0 == place.one("SELECT count(*) FROM dead_letters")


def test_sigterm_finishes_what_runs_and_leaves_the_rest_free_at_once(place: Place) -> None:
    # Given a worker in the middle of 5,000 items, and a claim time that nobody can wait for
    place.apply_sample_routes()
    place.add(_items())
    worker = place.workers.start(FENLIU_CLAIM_IDLE_S="3600")
    wait_for(lambda: _done(place) > 300, 60, "some items done")
    # When it gets SIGTERM
    worker.send_signal(signal.SIGTERM)
    assert 0 == worker.wait(40), place.workers.log_of(worker)
    # Then what it had begun is written and acknowledged, the rest unread, its heartbeat and consumer gone
    left, pending = place.left()
    assert (ITEMS - _done(place), 0) == (left, pending)
    assert left > 0
    assert [] == list(place.client.scan_iter(place.settings.keys.worker_prefix + "*"))
    # And another finishes it
    place.workers.start(FENLIU_CLAIM_IDLE_S="3600")
    place.wait_until_empty()
    _assert_all_there(place)


def test_sigkill_of_the_worker_loses_and_doubles_nothing(place: Place) -> None:
    # Given a worker in the middle of 5,000 items
    place.apply_sample_routes()
    place.add(_items())
    worker = place.workers.start()
    # When it is killed, again and again, and started again
    for more in (300, 1200, 2500):
        wait_for(lambda more=more: _done(place) > more, 60, f"{more} items done")
        worker.kill()
        worker.wait(10)
        worker = place.workers.start()
    place.wait_until_empty()
    # Then all is there, once
    _assert_all_there(place)
    # And of the dead workers nothing is left
    stream = place.settings.keys.inbox(Lane.LIVE)
    wait_for(lambda: len(place.client.xinfo_consumers(stream, GROUP)) == 1, 60, "one consumer left")


def test_redis_killed_and_restarted_in_the_middle(own_place: Place, servers: Servers) -> None:
    place = own_place
    place.apply_sample_routes()
    place.add(_items())
    worker = place.workers.start()
    wait_for(lambda: _done(place) > 300, 60, "some items done")
    servers.kill(servers.redis)
    time.sleep(1)
    servers.start(servers.redis)
    wait_for(lambda: _done(place) > 2000, 60, "more items done")
    servers.restart(servers.redis)
    place.wait_until_empty()
    _assert_all_there(place)
    assert worker.poll() is None, place.workers.log_of(worker)


def test_postgres_killed_and_restarted_in_the_middle(own_place: Place, servers: Servers) -> None:
    place = own_place
    place.apply_sample_routes()
    place.add(_items())
    worker = place.workers.start()
    wait_for(lambda: _done(place) > 300, 60, "some items done")
    servers.kill(servers.postgres)
    time.sleep(3)  # longer than claim_idle_s: what the slots hold must stay theirs
    servers.start(servers.postgres)
    place.engine.dispose()
    wait_for(lambda: _done(place) > 2000, 60, "more items done")
    servers.restart(servers.postgres)
    place.engine.dispose()
    place.wait_until_empty()
    _assert_all_there(place)
    assert worker.poll() is None, place.workers.log_of(worker)
    assert "claimed" not in place.workers.log_of(worker)


def test_sigterm_while_postgres_is_away_gives_everything_back(own_place: Place, servers: Servers) -> None:
    place = own_place
    place.apply_sample_routes()
    place.add(_items())
    worker = place.workers.start(FENLIU_CLAIM_IDLE_S="3600")
    wait_for(lambda: _done(place) > 300, 60, "some items done")
    # Given a database that goes away
    servers.kill(servers.postgres)
    wait_for(lambda: "slot_waits" in place.workers.log_of(worker), 30, "a slot notices")
    # When the worker is asked to stop
    worker.send_signal(signal.SIGTERM)
    assert 0 == worker.wait(40), place.workers.log_of(worker)
    # Then, once the database is back, another worker has everything at once
    servers.start(servers.postgres)
    place.engine.dispose()
    place.workers.start(FENLIU_CLAIM_IDLE_S="3600")
    place.wait_until_empty()
    _assert_all_there(place)
