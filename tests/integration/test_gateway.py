"""The REST API on real servers: keys from the command line to the door, rates shared, servers that are away."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
import redis
from sqlalchemy import Engine, insert, text

from producers.gateway.app import create_app
from producers.gateway.rate import Rates
from schemas.names import Kind, Lane
from schemas.settings import Settings
from schemas.tables import items
from tests.conftest import Fenliu
from tests.gateways import caller, in_loop, problem_in
from worker.desk import keys as desk
from worker.desk.keys import Scope

Call = Callable[[httpx2.AsyncClient], Awaitable[Any]]


@asynccontextmanager
async def gateway(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a gateway that is opened and closed as uvicorn does it."""
    app = create_app(settings)
    async with app.router.lifespan_context(app), caller(app) as http:
        yield http


def through(settings: Settings, call: Call) -> Any:
    """What a call gives, through a gateway of its own."""

    async def story() -> Any:
        async with gateway(settings) as http:
            return await call(http)

    return in_loop(story())


def created(fenliu: Fenliu, name: str, *options: str) -> dict[str, Any]:
    done = fenliu("keys", "create", name, "--json", *options)
    assert 0 == done.returncode, done.stderr
    key: dict[str, Any] = json.loads(done.stdout)
    return key


# --- keys ------------------------------------------------------------------------------------------------------------


def test_a_keys_whole_life(settings: Settings, fenliu: Fenliu, engine: Engine) -> None:
    item = {"id": "1", "text": "好"}

    async def story() -> None:
        async with gateway(settings) as http:

            async def status(secret: str) -> int:
                answer = await http.post("/v1/items", json=item, headers={"X-API-Key": secret})
                return int(answer.status_code)

            # Given an API that is open, since there is no key
            assert 202 == await status("")
            # When the first key is made, on the command line
            key = await asyncio.to_thread(created, fenliu, "shop", "--scope", "items:write", "--scope", "items:read")
            # Then it is let in at once, and within 5 s nobody else is
            assert 202 == await status(key["key"])
            until_s = time.monotonic() + 5
            while await status("") != 401:
                assert time.monotonic() < until_s
                await asyncio.sleep(0.1)
            assert 202 == await status(key["key"])
            # And it may do what its scopes say, and no more
            headers = {"Authorization": f"Bearer {key['key']}"}
            assert 404 == (await http.get("/v1/items/shop/none", headers=headers)).status_code
            assert 403 == (await http.post("/v1/predict", json={"text": "好"}, headers=headers)).status_code
            # When it is revoked
            done = await asyncio.to_thread(fenliu, "keys", "revoke", key["prefix"])
            assert "revoked key" in done.stdout
            # Then it is refused within 5 s, and the API stays closed
            until_s = time.monotonic() + 5
            while await status(key["key"]) != 401:
                assert time.monotonic() < until_s
                await asyncio.sleep(0.1)

    in_loop(story())
    # And only its hash was kept
    with engine.connect() as connection:
        ((row, used),) = connection.execute(text("SELECT api_keys::text, last_used_at FROM api_keys")).all()
    assert "flk_" in row
    assert row.count("flk_") == 1  # the prefix
    assert used is not None


def test_keys_are_listed_without_their_secret(settings: Settings, fenliu: Fenliu) -> None:
    shop = created(fenliu, "shop", "--expires", "90d", "--rate", "60", "--by", "mei")
    desk_key = created(fenliu, "desk", "--scope", "items:read")
    fenliu("keys", "revoke", str(desk_key["id"]))
    listed = [json.loads(line) for line in fenliu("keys", "list", "--json").stdout.splitlines()]
    assert [("shop", ["predict"], "active", 60, "mei")] == [
        (key["name"], key["scopes"], key["state"], key["rate_per_minute"], key["created_by"]) for key in listed
    ]
    everything = fenliu("keys", "list", "--all").stdout
    assert shop["prefix"] in everything
    assert shop["key"] not in everything
    assert "revoked" in everything


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("create", "shop", "--expires", "tomorrow"), 2, "is no time"),
        (("create", "shop", "--expires", "2020-01-01T00:00:00Z"), 2, "has passed"),
        (("create", "shop", "--scope", "everything"), 2, "items:write"),
        (("revoke", "77"), 1, "there is no key '77'"),
        (("revoke", "flk_nothing!"), 1, "there is no key"),
    ],
)
def test_what_is_wrong_with_a_command_is_said(fenliu: Fenliu, arguments: tuple[str, ...], code: int, said: str) -> None:
    done = fenliu("keys", *arguments)
    assert code == done.returncode
    assert said in done.stderr


def test_the_last_use_is_written_at_most_once_a_minute(engine: Engine) -> None:
    key, _ = desk.create(engine, "shop", [Scope.PREDICT])

    def last_used() -> Any:
        return desk.find(engine)[0].last_used_at

    desk.holders(engine, [key.id])
    first = last_used()
    desk.holders(engine, [key.id])
    assert first == last_used()
    with engine.begin() as connection:
        connection.execute(text("UPDATE api_keys SET last_used_at = now() - interval '61 s'"))
    desk.holders(engine, [key.id])
    assert first < last_used()


# --- rates -----------------------------------------------------------------------------------------------------------


def test_two_gateways_share_one_rate_per_key(settings: Settings, engine: Engine) -> None:
    # Given two keys, one with a rate of 3 a minute, and two gateways
    _, slow = desk.create(engine, "slow", [Scope.ITEMS_WRITE], rate_per_minute=3)
    _, free = desk.create(engine, "free", [Scope.ITEMS_WRITE])

    async def story() -> None:
        async with gateway(settings) as first, gateway(settings) as second:

            async def ask(http: httpx2.AsyncClient, secret: str) -> httpx2.Response:
                return await http.post("/v1/items", json={"id": "1", "text": "好"}, headers={"X-API-Key": secret})

            # When it is used on both
            answers = [await ask(http, slow) for http in (first, second, first, second)]
            # Then the fourth request is one too many, and says when to come again
            assert [202, 202, 202, 429] == [answer.status_code for answer in answers]
            assert ["2", "1", "0", "0"] == [answer.headers["ratelimit-remaining"] for answer in answers]
            assert {"3"} == {answer.headers["ratelimit-limit"] for answer in answers}
            assert "urn:fenliu:problem:rate-limited" == problem_in(answers[3]).type
            assert 15 <= int(answers[3].headers["retry-after"]) <= 20
            assert 55 <= int(answers[3].headers["ratelimit-reset"]) <= 60
            # And the other key is not touched by it
            unlimited = await ask(first, free)
            assert (202, False) == (unlimited.status_code, "ratelimit-limit" in unlimited.headers)

    in_loop(story())


def test_without_keys_the_rate_is_that_of_an_address(settings: Settings) -> None:
    limited = settings.model_copy(update={"http_rate_per_minute": 2})

    async def call(http: httpx2.AsyncClient) -> list[int]:
        body = {"id": "1", "text": "好"}
        return [(await http.post("/v1/items", json=body)).status_code for _ in range(3)]

    assert [202, 202, 429] == through(limited, call)


def test_a_rate_refills_evenly(settings: Settings, redis_client: redis.Redis) -> None:
    async def story() -> None:
        import redis.asyncio

        async with redis.asyncio.Redis.from_url(settings.redis_url) as server:
            rates = Rates(server, settings.keys)
            # Given 600 a minute, one each 100 ms, all of which are used
            taken = [await rates.take("mei", 600) for _ in range(600)]
            allowed = sum(standing.allowed for standing in taken)
            assert 600 == allowed
            # When the time of a good hundred passes, by moving what is kept
            key = settings.keys.rate("mei")
            await server.set(key, str(float(await server.get(key)) - 10_050))
            # Then a hundred or a few more, for the time that the test took, are allowed
            more = 0
            while (await rates.take("mei", 600)).allowed:
                more += 1
            assert more >= 100
            assert 0 < await server.pttl(key) <= 60_001

    in_loop(story())


# --- items -----------------------------------------------------------------------------------------------------------


def test_items_reach_their_inbox_as_any_entry_does(settings: Settings, redis_client: redis.Redis) -> None:
    sent = [
        {"id": 42, "source": "shop", "text": "物流太慢了", "kind": "ticket", "meta": {"plan": "pro"}, "stars": 5},
        {"id": "43", "text": "好", "created_at": "2026-01-31T08:00:00"},
        {"id": "44", "text": "好", "labels": ["a", "b"], "tasks": "routing", "multi_label": True},
    ]
    answer = through(settings, lambda http: http.post("/v1/items?lane=bulk", json=sent))
    assert (202, 2, 1) == (answer.status_code, answer.json()["accepted"], answer.json()["refused"])
    assert "give RFC 3339 with a zone" in answer.json()["items"][1]["error"]["detail"]
    found = redis_client.xrange(settings.keys.inbox(Lane.BULK))
    assert [answer.json()["items"][place]["entry_id"] for place in (0, 2)] == [entry.decode() for entry, _ in found]
    ticket, routed = ({name.decode(): value.decode() for name, value in fields.items()} for _, fields in found)
    assert ("42", "shop", "ticket", {"plan": "pro", "stars": 5}) == (
        ticket["id"], ticket["source"], ticket["kind"], json.loads(ticket["meta"]),
    )  # fmt: skip
    assert ('["a","b"]', "routing", "yes") == (routed["labels"], routed["tasks"], routed["multi_label"])


@pytest.mark.parametrize(
    ("source", "item_id", "path"),
    [("shop", "1", "shop/1"), ("店", "订 单", "%E5%BA%97/%E8%AE%A2%20%E5%8D%95"), ("a/b", "c/d", "a%2Fb/c%2Fd")],
)
def test_an_item_is_shown_whatever_it_is_called(
    settings: Settings, engine: Engine, source: str, item_id: str, path: str
) -> None:
    row = {"source": source, "item_id": item_id, "kind": Kind.COMMENT, "text": "好", "state": "done"}
    moments = dict.fromkeys(("created_at", "updated_at", "received_at"), "2026-01-31T08:00:00+08:00")
    with engine.begin() as connection:
        entry = {"entry_id": "1-0", "entry_ms": 1, "entry_seq": 0, "lane": Lane.LIVE}
        connection.execute(insert(items).values(row | moments | entry))
    answer = through(settings, lambda http: http.get(f"/v1/items/{path}"))
    assert 200 == answer.status_code
    assert (source, item_id, "2026-01-31T00:00:00+00:00") == tuple(
        answer.json()["item"][name] for name in ("source", "item_id", "created_at")
    )
    assert 404 == problem_in(through(settings, lambda http: http.get(f"/v1/items/{path}x"))).status


# --- when something is missing ---------------------------------------------------------------------------------------


def test_an_inbox_over_its_bound_is_429(settings: Settings, redis_client: redis.Redis) -> None:
    full = settings.model_copy(update={"inbox_bound": 1})
    redis_client.xadd(settings.keys.inbox(Lane.LIVE), {"id": "1", "text": "好"})

    async def call(http: httpx2.AsyncClient) -> list[httpx2.Response]:
        item = {"id": "2", "text": "好"}
        return [
            await http.post("/v1/items", json=item),
            await http.post("/v1/predict", json={"text": "好"}),
            await http.post("/v1/predict", json={"texts": ["好", "坏"]}),
            await http.post("/predict", json={"text": "好"}),
        ]

    for answer in through(full, call):
        assert ("urn:fenliu:problem:inbox-full", True) == (problem_in(answer).type, "retry-after" in answer.headers)


def test_without_a_worker_there_is_no_reply_in_time_and_nothing_is_left(
    settings: Settings, redis_client: redis.Redis
) -> None:
    hasty = settings.model_copy(update={"http_timeout_s": 0.3})

    async def call(http: httpx2.AsyncClient) -> list[Any]:
        ready = await http.get("/readyz")
        answers = [
            await http.post("/v1/predict", json={"text": "好"}),
            await http.post("/v1/predict", json={"texts": ["好", "坏"]}),
        ]
        return [ready, *answers]

    ready, *answers = through(hasty, call)
    assert {"redis": "ok", "database": "ok", "worker": "no worker has a heartbeat"} == problem_in(ready).checks
    assert [504, 504] == [problem_in(answer).status for answer in answers]
    assert 0 == redis_client.xlen(settings.keys.inbox(Lane.LIVE))
    assert [] == list(redis_client.scan_iter(f"{settings.keys.reply_prefix}*"))


def test_servers_that_are_away_are_503_and_named(settings: Settings) -> None:
    async def call(http: httpx2.AsyncClient) -> list[httpx2.Response]:
        return [
            await http.get("/readyz"),
            await http.post("/v1/items", json={"id": "1", "text": "好"}),
            await http.get("/v1/items/a/b"),
            await http.get("/healthz"),
        ]

    no_redis = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    ready, add, show, alive = through(no_redis, call)
    assert ("does not answer", "ok") == (
        (problem_in(ready).checks or {})["redis"],
        (ready.json()["checks"])["database"],
    )
    assert [503, 404, 200] == [answer.status_code for answer in (add, show, alive)]
    assert "urn:fenliu:problem:inbox-unavailable" == problem_in(add).type
    no_database = settings.model_copy(update={"database_url": "postgresql://127.0.0.1:1/none"})
    ready, add, show, alive = through(no_database, call)
    assert ("ok", "does not answer") == (ready.json()["checks"]["redis"], ready.json()["checks"]["database"])
    assert [503, 503, 200] == [answer.status_code for answer in (add, show, alive)]
    assert "urn:fenliu:problem:database-unavailable" == problem_in(show).type
    assert "retry-after" in show.headers
