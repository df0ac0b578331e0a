"""Connections that say nothing, or not enough, are closed; those whose request is answered stay open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from producers.gateway.protocol import PromptProtocol
from tests.gateways import in_loop

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


class Hasty(PromptProtocol):
    headers_s = 0.05


class Patient(PromptProtocol):
    headers_s = 3600.0


async def refuse(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers without reading the body."""
    await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


async def answer_slowly(scope: Any, receive: Any, send: Any) -> None:
    """One that takes longer than headers may."""
    await asyncio.sleep(Hasty.headers_s * 4)
    await refuse(scope, receive, send)


async def read_all(scope: Any, receive: Any, send: Any) -> None:
    """One that reads the body, and says how long it was and whether headers name a key."""
    body = b""
    while (message := await receive()).get("more_body"):
        body += message["body"]
    body += message.get("body", b"")
    seen = f"{len(body)} {b'authorization' in dict(scope['headers'])}".encode()
    headers = [(b"content-length", b"0"), (b"seen", seen)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def connected(
    app: Any, protocol: type[PromptProtocol] = Hasty
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    config = Config(app, log_config=None, lifespan="off")
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: protocol(config, state, {}), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        yield reader, writer
    finally:
        writer.close()
        server.close()


@pytest.mark.parametrize("said", [b"", b"\r\n", HEAD])
def test_a_connection_that_does_not_end_its_headers_is_closed(said: bytes) -> None:
    async def story() -> None:
        async with connected(refuse) as (reader, writer):
            writer.write(said)
            assert b"" == await reader.read()

    in_loop(story())


@pytest.mark.parametrize("more", [b"\r\n", HEAD, b"bo"], ids=["blank", "second request", "rest of a body"])
def test_so_is_one_that_goes_on_after_its_answer_without_an_end(more: bytes) -> None:
    async def story() -> None:
        async with connected(refuse) as (reader, writer):
            writer.write(HEAD + b"\r\n" + (b"" if more == b"bo" else b"body"))
            assert b"401" in await reader.readuntil(b"\r\n\r\n")
            writer.write(more)
            assert b"" == await reader.read()

    in_loop(story())


def test_headers_that_never_end_are_cut_off() -> None:
    async def story() -> None:
        async with connected(refuse, Patient) as (_, writer):
            with pytest.raises(ConnectionError):
                writer.write(HEAD + b"X-A: ")
                while True:
                    writer.write(b"a" * 10_000)
                    await writer.drain()

    in_loop(story())


@pytest.mark.parametrize("rest", [b"0\r\n", b"0\r\na: ", b"0;a=", b"2;a="], ids=["trailers", "one", "last", "next"])
def test_so_is_what_stands_around_a_chunked_body_without_end(rest: bytes) -> None:
    async def story() -> None:
        async with connected(read_all, Patient) as (_, writer):
            writer.write(CHUNKED + b"2\r\n[]\r\n" + rest)
            sent_bytes = 0
            with pytest.raises(ConnectionError):
                while sent_bytes < 50_000_000:
                    writer.write(b"a:b\r\n" * 2_000 if rest == b"0\r\n" else b"a" * 10_000)
                    sent_bytes += 10_000
                    await writer.drain()

    in_loop(story())


def test_trailers_are_no_headers_and_long_bodies_come_whole() -> None:
    # Given a body in small pieces, more bytes around them than headers may have, and a trailer named as a header
    pieces = (b"1;" + b"x" * 100 + b"\r\na\r\n") * 2_000

    async def story() -> None:
        async with connected(read_all, Patient) as (reader, writer):
            for _ in range(2):
                writer.write(CHUNKED + pieces + b"0\r\nAuthorization: Bearer x\r\n\r\n")
                assert b"\r\nseen: 2000 False\r\n" in await reader.readuntil(b"\r\n\r\n")

    in_loop(story())


def test_a_request_that_takes_its_time_is_answered() -> None:
    async def story() -> None:
        async with connected(answer_slowly) as (reader, writer):
            for _ in range(2):
                writer.write(HEAD + b"\r\nbody")
                assert b"401" in await reader.readuntil(b"\r\n\r\n")

    in_loop(story())
