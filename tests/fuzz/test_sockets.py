"""Bytes on a real socket that no client of ours would send, and receivers that answer as none should."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from uvicorn import Config
from uvicorn.server import ServerState

from producers.gateway.protocol import PromptProtocol
from schemas.names import DeliveryState
from schemas.settings import Settings
from tests.fuzz.budget import examples
from tests.fuzz.mutations import mutated_bytes
from tests.fuzz.values import raw_bytes
from tests.gateways import FakeClient, make_app
from worker.relay.webhook import Answer, Call, Caller

T = TypeVar("T")
BODY = json.dumps({"id": "1", "text": "好"}).encode()
HEAD = b"POST /v1/items HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
WHOLE = b"%bContent-Length: %d\r\n\r\n%b" % (HEAD, len(BODY), BODY)
PIECES = CHUNKED + b"5\r\n%b\r\n%x;a=b\r\n%b\r\n0\r\nX-After: 1\r\n\r\n" % (BODY[:5], len(BODY) - 5, BODY[5:])
LENGTHS = ("0", "1", "-1", "+5", "5 5", "1_0", "0x5", "", "9" * 18, "9" * 30, "٥", "5, 5", "5, 6")
SIZES = ("0", "-1", "5;" + "a" * 9_000, "7fffffffffffffff", "ffffffffffffffff", "f" * 40, "0x5", "", " 5", "5 ", "g")
REQUESTS = st.one_of(
    st.sampled_from(LENGTHS).map(lambda told: HEAD + f"Content-Length: {told}\r\n\r\n".encode() + BODY),
    st.sampled_from(SIZES).map(lambda told: CHUNKED + told.encode() + b"\r\n" + BODY + b"\r\n0\r\n\r\n"),
    st.sampled_from((WHOLE, PIECES, WHOLE + PIECES, PIECES * 3)).flatmap(mutated_bytes),
    st.integers(0, len(PIECES)).map(lambda cut: PIECES[:cut]),
    raw_bytes,
)
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
CLOSING = Settings(webhook_allow_private=True, webhook_timeout_s=0.3)


class Loop:
    """One event loop for all examples of a test; what nobody caught on it is kept."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda _, context: self.faults.append(context))
        self.faults: list[dict[str, Any]] = []

    def run(self, story: Coroutine[Any, Any, T]) -> T:
        """The result of `story`, which must not take a minute."""
        return self._loop.run_until_complete(asyncio.wait_for(story, 60))

    def close(self) -> None:
        """Give up what still runs."""
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        for task in left:
            with suppress(asyncio.CancelledError):
                self._loop.run_until_complete(task)
        self._loop.close()


@pytest.fixture(scope="module")
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


class Hasty(PromptProtocol):
    headers_s = 0.02


@pytest.fixture(scope="module")
def ports(loop: Loop) -> Iterator[tuple[int, int]]:
    """Of the REST API as `fenliu serve` speaks it, once in a hurry and once not."""
    app = make_app(FakeClient(), http_timeout_s=0.1)
    config = Config(app, log_config=None, lifespan="off", ws="none", timeout_keep_alive=0.02)  # type: ignore[arg-type]
    state = ServerState()

    async def start(protocol: type[PromptProtocol]) -> asyncio.Server:
        return await asyncio.get_running_loop().create_server(lambda: protocol(config, state, {}), "127.0.0.1", 0)

    servers = [loop.run(start(protocol)) for protocol in (Hasty, PromptProtocol)]
    hasty, patient = (int(server.sockets[0].getsockname()[1]) for server in servers)
    yield hasty, patient
    for server in servers:
        server.close()


async def said_to(port: int, sent: bytes, hang_up: bool = False) -> bytes:
    """What is answered to these bytes until the server hangs up, or the sender right after them."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        if hang_up:
            writer.write_eof()
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


@given(sent=REQUESTS, hang_up=st.booleans())
@examples(80)
def test_bytes_of_any_kind_are_answered_or_refused(
    loop: Loop, ports: tuple[int, int], sent: bytes, hang_up: bool
) -> None:
    hasty, patient = ports
    # When something is sent that may be cut or lie about its length
    answers = STATUS.findall(loop.run(said_to(hasty, sent, hang_up)))
    # then nothing of it is a fault of the server, which hangs up in time and answers the next one as ever
    assert not [status for status in answers if status >= b"500"]
    assert [b"202"] == STATUS.findall(loop.run(said_to(patient, WHOLE)))
    assert [] == loop.faults


GOOD_ANSWER = b"HTTP/1.1 503 No\r\nRetry-After: Mon, 01 Jan 2024 00:00:00 GMT\r\nContent-Length: 2\r\n\r\nok"
DATES = st.sampled_from(("Mon,", "01", "Feb", "0001", "9999", "24:61:61", "00:00", "-2359", "+9999", "GMT", "(", "\\"))
VALUES = (*LENGTHS, "chunked", "gzip, chunked", "http://169.254.169.254/", "close", "websocket")
HEADERS = st.tuples(
    st.sampled_from(("Retry-After", "Content-Length", "Transfer-Encoding", "Location", "Connection", "Upgrade")),
    st.one_of(st.sampled_from(VALUES), st.lists(DATES, max_size=7).map(" ".join)),
).map(": ".join)
STATUSES = st.sampled_from(("000", "100", "101", "199", "200", "304", "307", "503", "999"))
ANSWERS = st.one_of(
    mutated_bytes(GOOD_ANSWER),
    st.builds(
        lambda status, headers: "\r\n".join([f"HTTP/1.1 {status} x", *headers, "", "ok"]).encode(),
        STATUSES,
        st.lists(HEADERS, max_size=4),
    ),
    raw_bytes,
)


async def called(answer: bytes) -> Answer:
    """What becomes of a call whose receiver answers so."""

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):  # a caller that has given up already
            await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(receive, "127.0.0.1", 0)
    caller = Caller(CLOSING, ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))  # quicker than one that trusts many
    try:
        port = server.sockets[0].getsockname()[1]
        return await caller.call(Call(f"http://127.0.0.1:{port}/hook", "whsec_test", "7", BODY))
    finally:
        await caller.close()
        server.close()


@given(answer=ANSWERS)
@examples(80)
def test_whatever_a_receiver_answers_the_call_has_an_end(loop: Loop, answer: bytes) -> None:
    result = loop.run(called(answer))
    # Then it has been delivered, or there is a reason of readable length and a time to wait that a row can hold
    if result.state is not DeliveryState.DELIVERED:
        assert result.error
        assert len(result.error) <= 500
        assert result.error.isprintable()
    assert result.status_code is None or 0 <= result.status_code <= 999
    assert result.retry_after_s is None or 0 <= result.retry_after_s < 10**13
    assert [] == loop.faults
