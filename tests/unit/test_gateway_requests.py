"""Around every request of the REST API: its id, its log line, its numbers, its keys, and callers that leave."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from producers.gateway.keys import FRESH_S, OPEN_S, STALE_S, KeyRing
from schemas.errors import DatabaseUnavailableError
from tests.gateways import FakeClient, ask, caller, in_loop, make_app, problem_in
from worker.desk.keys import PREFIX_CHARS, Keyholder, Keyholders, sha256_of

SECRET = "flk_" + "a" * 43
OTHER = "flk_" + "a" * 42 + "b"  # listed under the same prefix


def holder(secret: str = SECRET, *scopes: str, **changes: Any) -> Keyholder:
    values: dict[str, Any] = {
        "id": 7, "prefix": secret[:PREFIX_CHARS], "sha256": sha256_of(secret), "scopes": frozenset(scopes),
        "rate_per_minute": None, "expires_at": None,
    }  # fmt: skip
    return Keyholder(**(values | changes))


def holding(*holders: Keyholder) -> Any:
    return lambda used: Keyholders(True, holders)


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


def http_scope(path: str = "/v1/predict", **headers: str) -> dict[str, Any]:
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {
        "type": "http", "http_version": "1.1", "method": "POST", "path": path, "raw_path": path.encode(),
        "query_string": b"", "headers": [(b"content-type", b"application/json"), *named], "scheme": "http",
        "root_path": "", "client": ("127.0.0.1", 1), "server": ("fenliu", 80),
    }  # fmt: skip


# --- ids, logs, numbers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["order-42", "3f1c:9a/b.c=", "A" * 128])
def test_a_sane_request_id_is_taken_over(client: FakeClient, given: str) -> None:
    answer = ask(make_app(client), "GET", "/nothing", headers={"X-Request-ID": given})
    assert given == problem_in(answer).request_id


@pytest.mark.parametrize("given", ["", "A" * 129, "two words", 'quote"', "é"])
def test_another_is_replaced(client: FakeClient, given: str) -> None:
    answer = ask(make_app(client), "GET", "/nothing", headers=[(b"X-Request-ID", given.encode())])
    assert given != problem_in(answer).request_id
    assert 24 == len(problem_in(answer).request_id)


def test_each_request_has_a_line_without_texts_and_keys(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    app = make_app(client, look=holding(holder(SECRET, "predict")), log_format="json")
    headers = {"Authorization": f"Bearer {SECRET}", "X-Request-ID": "r-1"}
    ask(app, "POST", "/v1/predict?q=private", json={"text": "private"}, headers=headers)
    ask(app, "POST", "/v1/items", json={"text": "private"}, headers=headers)
    printed = capsys.readouterr().err
    first, second = map(json.loads, printed.splitlines())
    assert {
        "request_id": "r-1", "method": "POST", "route": "/v1/predict", "status": 200, "caller": "key:7",
        "event": "request", "level": "info", "logger": "fenliu.gateway",
    } == {name: value for name, value in first.items() if name not in ("ms", "timestamp")}  # fmt: skip
    assert ("forbidden", 403) == (second["problem"], second["status"])
    assert "private" not in printed
    assert SECRET not in printed


def test_quiet_levels_and_probes_write_no_lines(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    ask(make_app(client, log_format="json"), "GET", "/healthz")
    ask(make_app(client, log_format="json", log_level="WARNING"), "GET", "/nothing")
    assert "" == capsys.readouterr().err


def test_what_nobody_expected_is_logged_with_its_id(client: FakeClient, caplog: pytest.LogCaptureFixture) -> None:
    def broken(text: str) -> None:
        raise RuntimeError("the reason")

    client.answer = broken
    with caplog.at_level(logging.ERROR):
        answer = ask(make_app(client), "POST", "/v1/predict", json={"text": "a"}, headers={"X-Request-ID": "r-2"})
    assert (500, "r-2") == (problem_in(answer).status, problem_in(answer).request_id)


def test_numbers_are_kept_by_route_and_not_by_path(client: FakeClient) -> None:
    # Given requests on a route with parameters, on none, and wrong ones
    app = make_app(client)

    async def story() -> str:

        async with caller(app) as http:
            for text in ("a", "b"):
                await http.post("/v1/predict", json={"text": text})
            await http.post("/v1/predict", json={"text": 1})
            for number in range(3):
                await http.get(f"/nothing/{number}")
            return (await http.get("/metrics")).text

    # When the numbers are read
    families = {family.name: family.samples for family in text_string_to_metric_families(in_loop(story()))}
    # Then latency, status and problem are there for each route
    seen = {
        (s.labels["route"], s.labels["status"]): s.value
        for s in families["fenliu_http_requests"]
        if s.name.endswith("total")
    }
    assert {("/v1/predict", "200"): 2, ("/v1/predict", "422"): 1, ("none", "404"): 3} == seen
    took = {s.labels["route"]: s.value for s in families["fenliu_http_request_seconds"] if s.name.endswith("_count")}
    assert {"/v1/predict": 3, "none": 3} == took
    errors = {
        (s.labels["route"], s.labels["problem"]): s.value
        for s in families["fenliu_http_errors"]
        if s.name.endswith("total")
    }
    assert {("/v1/predict", "invalid-request"): 1, ("none", "not-found"): 3} == errors


# --- callers that leave, bodies that do not end ----------------------------------------------------------------------


def test_a_caller_that_leaves_ends_what_was_done_for_it(client: FakeClient) -> None:
    # Given a request whose result takes for ever
    client.waits = True
    sent: list[Any] = []

    async def story() -> None:
        left = asyncio.Event()
        messages = [{"type": "http.request", "body": b'{"texts": ["a", "b"]}', "more_body": False}]

        async def receive() -> Any:
            if messages:
                return messages.pop()
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        task = asyncio.create_task(make_app(client)(http_scope(), receive, send))
        while len(client.asked) < 2:
            await asyncio.sleep(0)
        # When the caller hangs up
        left.set()
        await task
        # Then nothing of it is left
        assert {asyncio.current_task()} == asyncio.all_tasks()

    in_loop(story())
    assert (2, []) == (client.cancelled, sent)


def test_a_server_that_is_stopped_is_not_held_up(client: FakeClient) -> None:
    client.waits = True

    async def story() -> None:
        messages = [{"type": "http.request", "body": b'{"text": "a"}', "more_body": False}]

        async def receive() -> Any:
            if messages:
                return messages.pop()
            return await asyncio.sleep(3600)

        send: Any = None  # nothing is sent
        task = asyncio.create_task(make_app(client)(http_scope(), receive, send))
        while not client.asked:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert {asyncio.current_task()} == asyncio.all_tasks()

    in_loop(story())


def body_of_chunks(client: FakeClient, receive: Any, headers: dict[str, str], **changes: Any) -> tuple[int, bytes]:
    """Status and body of the answer to a request that arrives as `receive` gives it."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    in_loop(make_app(client, **changes)(http_scope(**headers), receive, send))
    return sent[0]["status"], sent[1]["body"]


def test_a_body_without_a_length_is_read_no_further_than_the_bound(client: FakeClient) -> None:
    read = 0

    async def receive() -> Any:
        nonlocal read
        read += 1
        return {"type": "http.request", "body": b" " * 1000, "more_body": True}

    status, _ = body_of_chunks(client, receive, {}, http_body_bytes=10_000)
    assert (413, 11) == (status, read)


def test_a_length_over_the_bound_is_refused_unread(client: FakeClient) -> None:
    async def receive() -> Any:
        raise AssertionError("read")

    assert 413 == body_of_chunks(client, receive, {"content_length": "99999999999999"})[0]


def test_a_body_in_pieces_is_put_together(client: FakeClient) -> None:
    pieces = [b'{"te', b'xt": "', "好".encode()[:1], "好".encode()[1:], b'"}']

    async def receive() -> Any:
        if not pieces:
            await asyncio.sleep(3600)
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    assert 200 == body_of_chunks(client, receive, {})[0]
    assert ["好"] == [text for text, _ in client.asked]


def test_a_body_that_stops_coming_is_given_up(client: FakeClient) -> None:
    async def receive() -> Any:
        await asyncio.sleep(3600)

    status, body = body_of_chunks(client, receive, {}, http_timeout_s=0.01)
    assert (408, "body-timeout") == (status, json.loads(body)["type"].rpartition(":")[2])


# --- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status", "challenge"),
    [
        ({}, 401, "Bearer"),
        ({"Authorization": "Basic abc"}, 401, "Bearer"),
        ({"Authorization": f"Bearer {OTHER}"}, 401, "invalid_token"),
        ({"Authorization": f"Bearer {SECRET}x"}, 401, "invalid_token"),
        ({"X-API-Key": "flk_"}, 401, "invalid_token"),
        ({"Authorization": f"Bearer {SECRET}"}, 200, None),
        ({"Authorization": f"bearer  {SECRET}"}, 200, None),
        ({"X-API-Key": SECRET}, 200, None),
        ({"X-API-Key": OTHER, "Authorization": f"Bearer {SECRET}"}, 200, None),
    ],
)
def test_once_a_key_exists_only_keys_are_let_in(
    client: FakeClient, headers: dict[str, str], status: int, challenge: str | None
) -> None:
    app = make_app(client, look=holding(holder(SECRET, "predict")))
    answer = ask(app, "POST", "/v1/predict", json={"text": "a"}, headers=headers)
    assert status == answer.status_code
    assert (challenge or "") in answer.headers.get("www-authenticate", "")
    assert bool(challenge) == ("www-authenticate" in answer.headers)


def test_a_key_may_only_do_what_its_scopes_say(client: FakeClient) -> None:
    app = make_app(client, look=holding(holder(SECRET, "predict")))
    answer = ask(app, "POST", "/v1/items", json={"id": "1", "text": "a"}, headers={"X-API-Key": SECRET})
    assert (403, [], True) == (
        problem_in(answer).status, client.enqueued, 'scope="items:write"' in answer.headers["www-authenticate"],
    )  # fmt: skip


def test_health_numbers_and_docs_need_no_key(client: FakeClient) -> None:
    app = make_app(client, look=holding(holder()))
    for path in ("/healthz", "/metrics", "/docs", "/openapi.json"):
        assert 200 == ask(app, "GET", path).status_code, path


def test_without_the_database_nobody_is_let_in(client: FakeClient) -> None:
    def away(used: Collection[int]) -> Keyholders:
        raise DatabaseUnavailableError("gone")

    answer = ask(make_app(client, look=away), "POST", "/v1/predict", json={"text": "a"})
    assert (503, [], True) == (problem_in(answer).status, client.asked, "retry-after" in answer.headers)


class Table:
    """Keys as a table holds them, and a clock that a test sets."""

    def __init__(self, *holders: Keyholder) -> None:
        self.now = Keyholders(bool(holders), holders)
        self.away = False
        self.looks = 0
        self.used: list[int] = []
        self.clock_s = 100.0

    def look(self, used: Collection[int]) -> Keyholders:
        self.looks += 1
        self.clock_s += 0.001
        if self.away:
            raise DatabaseUnavailableError("gone")
        self.used += used
        return self.now

    def ring(self) -> KeyRing:
        return KeyRing(self.look, lambda: self.clock_s, self.sleep)

    async def sleep(self, pause_s: float) -> None:
        until_s = self.clock_s + pause_s
        await asyncio.sleep(0)
        self.clock_s = max(self.clock_s, until_s)


def test_keys_are_not_looked_up_for_each_request() -> None:
    table = Table(holder())

    async def story() -> None:
        ring = table.ring()
        for _ in range(100):
            assert await ring.holder(SECRET)
        assert 1 == table.looks
        # A little later, one look in the background brings them up to date
        table.clock_s += FRESH_S + 0.1
        for _ in range(100):
            assert await ring.holder(SECRET)
        await ring.close()
        assert 2 == table.looks

    in_loop(story())


def test_a_revoked_key_is_refused_within_five_seconds_and_a_new_one_let_in_at_once() -> None:
    table = Table(holder())

    async def story() -> None:
        ring = table.ring()
        assert await ring.holder(SECRET)
        table.now = Keyholders(True, (holder(OTHER),))
        table.clock_s += 1.0
        assert await ring.holder(OTHER)
        assert await ring.holder(SECRET) is None
        table.now = Keyholders(True, ())
        table.clock_s += 5.0
        assert await ring.holder(OTHER) is None

    assert STALE_S < 5
    in_loop(story())


def test_a_key_made_after_a_look_that_found_nothing_works_in_the_next_request() -> None:
    table = Table(holder())

    async def story() -> None:
        ring = table.ring()
        assert await ring.holder(OTHER) is None
        table.now = Keyholders(True, (holder(OTHER),))
        assert await ring.holder(OTHER)

    in_loop(story())


def test_the_first_key_closes_the_door_at_once_but_a_database_that_is_away_does_not() -> None:
    table = Table()

    async def story() -> None:
        ring = table.ring()
        assert await ring.is_open()
        table.away = True
        table.clock_s += FRESH_S - 0.1
        assert await ring.is_open()
        table.away = False
        table.now = Keyholders(True, (holder(),))
        table.clock_s += OPEN_S + 0.01
        assert not await ring.is_open()

    in_loop(story())


def test_the_first_key_closes_the_door_and_an_expired_one_does_not_open_it() -> None:
    table = Table()

    async def story() -> None:
        ring = table.ring()
        assert await ring.is_open()
        table.now = Keyholders(True, (holder(SECRET, expires_at=datetime.now(UTC) - timedelta(seconds=1)),))
        table.clock_s += 5.0
        assert not await ring.is_open()
        assert await ring.holder(SECRET) is None

    in_loop(story())


def test_wrong_keys_do_not_reach_the_database_each_time() -> None:
    table = Table(holder())

    async def story() -> None:
        ring = table.ring()
        assert await ring.holder(SECRET)
        # A thousand at the same moment share one look
        assert [None] * 1000 == await asyncio.gather(*(ring.holder(OTHER) for _ in range(1000)))
        assert table.looks <= 3
        # One after the other, each waits for the next look
        begun_s, looks = table.clock_s, table.looks
        for _ in range(10):
            assert await ring.holder(OTHER) is None
        assert (table.clock_s - begun_s) / (table.looks - looks) == pytest.approx(0.5, rel=0.1)

    in_loop(story())


def test_while_the_database_is_away_keys_count_until_they_are_stale() -> None:
    table = Table(holder())

    async def story() -> None:
        ring = table.ring()
        assert await ring.holder(SECRET)
        table.away = True
        table.clock_s += STALE_S - 0.1
        assert await ring.holder(SECRET)
        table.clock_s += 0.2
        with pytest.raises(DatabaseUnavailableError):
            await ring.holder(SECRET)
        table.away = False
        assert await ring.holder(SECRET)

    in_loop(story())


def test_a_frozen_database_holds_no_request_for_ever() -> None:
    frozen = threading.Event()

    def look(used: Collection[int]) -> Keyholders:
        frozen.wait(60)
        return Keyholders(True, (holder(),))

    async def story() -> None:
        ring = KeyRing(look, wait_s=0.02)
        with pytest.raises(DatabaseUnavailableError):
            await ring.is_open()
        frozen.set()
        await ring.close()
        assert not await ring.is_open()

    in_loop(story())


def test_last_uses_are_noted_once_a_minute_and_at_the_end() -> None:
    table = Table(holder())

    async def story() -> None:
        ring = table.ring()
        for _ in range(300):  # five minutes of a request each second
            assert await ring.holder(SECRET)
            await asyncio.sleep(0)
            table.clock_s += 1.0
        await ring.close()

    in_loop(story())
    assert [7] * 5 == table.used


# --- the description -------------------------------------------------------------------------------------------------


def test_the_docs_need_no_internet(client: FakeClient) -> None:
    app = make_app(client)
    page = ask(app, "GET", "/docs").text
    assert "http" not in page.replace("http-equiv", "")
    for name in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert f"/docs/{name}" in page
        packed = ask(app, "GET", f"/docs/{name}", headers={"Accept-Encoding": "gzip"})
        plain = ask(app, "GET", f"/docs/{name}", headers={"Accept-Encoding": "identity"})
        assert ("gzip", None) == (packed.headers.get("content-encoding"), plain.headers.get("content-encoding"))
        assert packed.content == plain.content
    assert 404 == ask(app, "GET", "/docs/app.py").status_code


def test_the_description_says_what_each_operation_needs_and_answers(client: FakeClient) -> None:
    document = ask(make_app(client), "GET", "/openapi.json").json()
    assert {
        "/v1/predict", "/v1/items", "/v1/items/{source}/{id}", "/predict", "/healthz", "/readyz", "/metrics",
    } == document["paths"].keys()  # fmt: skip
    for path, operations in document["paths"].items():
        for operation in operations.values():
            needs_key = path not in ("/healthz", "/readyz", "/metrics")
            assert needs_key == ("security" in operation) == ("401" in operation["responses"])
