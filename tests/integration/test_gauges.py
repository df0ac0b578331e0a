"""The state of the deployment as the gateway shows it: what it says, and what is left of it when a server is away."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import UTC, datetime
from typing import Any

import redis
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine, text

from producers.gateway import gauges as shown
from producers.gateway.gauges import Gauges
from schemas.database import make_engine
from schemas.errors import DatabaseUnavailableError
from schemas.names import GROUP, Lane
from schemas.settings import Settings
from tests.gateways import in_loop
from tests.integration.outcomes import NOON, comment, dead, ticket
from tests.monitoring import documented
from worker.desk.gauges import Gauge, Read, parts
from worker.sink import Sink

Values = dict[tuple[str, str], float]


def values_of(page: bytes) -> Values:
    """Values by name and by the value of the first label."""
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def read(settings: Settings, engine: Engine) -> Values:
    """One scrape."""
    with redis.Redis.from_url(settings.redis_url, socket_connect_timeout=1) as client:
        return values_of(in_loop(Gauges(parts(engine, client, settings.keys)).page()))


def test_gauges_say_how_it_stands(settings: Settings, engine: Engine, redis_client: Any) -> None:
    # Given an empty deployment, then all is at zero but what answers
    before = read(settings, engine)
    assert {1.0} == {value for (name, _), value in before.items() if name == "fenliu_up"}
    assert {0.0} == {
        value for (name, _), value in before.items() if name not in {"fenliu_up", "fenliu_inbox_standing_still"}
    }
    assert 1 == before["fenliu_inbox_standing_still", ""]  # nobody is there to move it
    # When there is a worker, two entries of which one is taken, a dead letter, a ticket's announcement, a backfill, a
    # model and an alert
    keys, now = settings.keys, datetime.now(UTC)
    redis_client.hset(keys.worker("me"), mapping={"slots": 3, "started_at": time.time(), "last_commit_at": 0})
    redis_client.xgroup_create(keys.inbox(Lane.LIVE), GROUP, id="0", mkstream=True)
    redis_client.xadd(keys.inbox(Lane.LIVE), {"id": "1"}, id=f"{int(now.timestamp() * 1000) - 30_000}-0")
    redis_client.xreadgroup(GROUP, "me", {keys.inbox(Lane.LIVE): ">"})
    redis_client.xadd(keys.inbox(Lane.BULK), {"id": "2"})
    Sink(engine).write([comment("1"), ticket("2"), dead({"id": "3"}), dead({"id": "4"}, at_s=1)], NOON)
    with engine.begin() as connection:
        for statement in (
            "INSERT INTO backfills (source, origin, state) VALUES ('shop', 'x.csv', 'running')",
            "INSERT INTO models (name, version, state) VALUES ('tiny', '1', 'production'), ('old', '1', 'retired')",
            """INSERT INTO alerts (measure, task, model, model_version, value, bound, message)
               VALUES ('labels', 'sentiment', 'tiny', '1', 0.4, 0.25, '-')""",
            "UPDATE dead_letters SET code = 'of_a_newer_release' WHERE item_id = '4'",
        ):
            connection.execute(text(statement))
    found = read(settings, engine)
    # Then they say so
    assert (1, 3, 0) == tuple(
        found[f"fenliu_{name}", ""] for name in ("workers", "slots", "inbox_standing_still")
    )  # fmt: skip
    assert [(1, 1), (1, 0)] == [
        (found["fenliu_inbox_backlog_entries", lane], found["fenliu_inbox_pending_entries", lane])
        for lane in ("live", "bulk")
    ]
    assert found["fenliu_inbox_oldest_age_seconds", "live"] >= 30 > found["fenliu_inbox_oldest_age_seconds", "bulk"]
    waiting = {code: value for (name, code), value in found.items() if name == "fenliu_dead_letters_waiting" and value}
    assert 1 == waiting.pop("other")
    assert [1] == list(waiting.values())
    assert (1, 0) == (found["fenliu_backfills", "running"], found["fenliu_backfills", "failed"])
    assert {"tiny"} == {model for name, model in found if name == "fenliu_production_model_info"}
    assert (1, 0.4, 0.25) == (
        found["fenliu_quality_alerts_open", ""],
        found["fenliu_quality_alert_value", "labels"],
        found["fenliu_quality_alert_bound", "labels"],
    )
    assert (1, 0) == (found["fenliu_outbox_waiting", ""], found["fenliu_deliveries_failed", ""])
    assert found["fenliu_outbox_oldest_age_seconds", ""] >= 0


def test_the_docs_list_these_gauges_with_their_labels(settings: Settings, engine: Engine, redis_client: Any) -> None:
    listed = {name: labels for name, _, labels in documented()}
    for server in parts(engine, redis_client, settings.keys):
        for part in server.values():
            for gauge in part():
                assert listed[gauge.name] == set(gauge.labels), gauge.name
                assert all(len(gauge.labels) == len(labels) for labels in gauge.values)


def test_a_server_that_is_away_takes_only_its_part_with_it(settings: Settings, engine: Engine) -> None:
    # Given no Redis
    gone = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    found = read(gone, engine)
    assert (0, 1, 1) == tuple(found["fenliu_up", part] for part in ("redis", "postgres", "outbox"))
    assert ("fenliu_workers", "") not in found
    assert 0 == found["fenliu_outbox_waiting", ""]
    # and no PostgreSQL
    nowhere = make_engine(settings.model_copy(update={"database_url": "postgresql://fenliu@127.0.0.1:1/fenliu"}))
    found = read(settings, nowhere)
    nowhere.dispose()
    assert (1, 0, 0, 0) == tuple(found["fenliu_up", part] for part in ("redis", "postgres", "dead_letters", "outbox"))
    assert 0 == found["fenliu_workers", ""]


def test_one_question_that_fails_leaves_the_others_of_its_server() -> None:
    def fails() -> list[Gauge]:
        raise DatabaseUnavailableError("canceling statement due to statement timeout")

    server: dict[str, Read] = {
        "first": lambda: [Gauge("a", "-", (), {(): 1})],
        "second": fails,
        "third": lambda: [Gauge("b", "-", (), {(): 2})],
    }
    found = values_of(in_loop(Gauges([server]).page()))
    assert {("fenliu_up", "first"): 1, ("fenliu_up", "second"): 0, ("fenliu_up", "third"): 1, ("a", ""): 1,
            ("b", ""): 2} == found  # fmt: skip


def test_a_server_that_hangs_is_asked_once_and_the_others_are_shown(monkeypatch: Any) -> None:
    # Given a server whose answer does not come, beside one that is well
    asked: list[str] = []
    hangs, answer = threading.Event(), [Gauge("late", "-", (), {(): 1})]

    def hang() -> list[Gauge]:
        asked.append("hanging")
        assert hangs.wait(60)
        return answer

    def well() -> list[Gauge]:
        asked.append("well")
        return [Gauge("soon", "-", (), {(): 1})]

    async def story() -> None:
        gauges = Gauges([{"hanging": hang}, {"well": well}], timeout_s=0.05)
        monkeypatch.setattr(shown, "KEPT_S", -1.0)
        for _ in range(3):
            found = values_of(await gauges.page())
            assert {("fenliu_up", "hanging"): 0, ("fenliu_up", "well"): 1, ("soon", ""): 1} == found
        # Then it was asked once; when it answers at last, that is shown
        assert (1, 3) == (asked.count("hanging"), asked.count("well"))
        hangs.set()
        async with asyncio.timeout(30):
            while ("late", "") not in (found := values_of(await gauges.page())):
                await asyncio.sleep(0.01)
        assert 1 == found["fenliu_up", "hanging"]
        # and what was read is kept for a moment
        monkeypatch.setattr(shown, "KEPT_S", 3600.0)
        before = len(asked)
        await gauges.page()
        assert before == len(asked)

    in_loop(story())
