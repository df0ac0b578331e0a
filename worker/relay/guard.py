"""The guard at the socket: resolves a name, checks what it resolved to, and connects to that very address.

TLS still verifies the host's name, which the connection pool passes on by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import httpcore2
from httpcore2 import AnyIOBackend, AsyncNetworkBackend, AsyncNetworkStream

from schemas.errors import WebhookError
from worker.relay.address import allowed

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""A host and port to its addresses. Raises OSError."""


class Guard(AsyncNetworkBackend):
    """Connects to public addresses only, unless `allow_private`."""

    def __init__(self, *, allow_private: bool, resolve: Resolve | None = None) -> None:
        self._allow_private = allow_private
        self._resolve = resolve or system_resolve
        self._inner = AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> AsyncNetworkStream:
        """Connect to the first of the allowed addresses that answers. Raises WebhookError when none is allowed."""
        try:
            addresses = await self._resolve(host, port)
        except OSError as error:
            raise httpcore2.ConnectError(f"{host} does not resolve ({error.strerror})") from error
        failure: Exception = httpcore2.ConnectError(host)
        for address in allowed(host, addresses, allow_private=self._allow_private):
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(self, *_: Any, **__: Any) -> AsyncNetworkStream:
        """Never: a webhook is called over the network."""
        raise WebhookError("a webhook cannot be a unix socket")

    async def sleep(self, seconds: float) -> None:
        """Wait, as the pool asks."""
        await asyncio.sleep(seconds)


async def system_resolve(host: str, port: int) -> Sequence[str]:
    """The system's answer, on a thread of its own: one that hangs must not keep the process from ending."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Sequence[str]] = loop.create_future()

    def settle(found: Sequence[str], error: OSError | None) -> None:
        if not answer.done():
            answer.set_exception(error) if error else answer.set_result(found)

    def look_up() -> None:
        found: Sequence[str] = ()
        failed: OSError | None = None
        try:
            found = lookup(host, port)
        except OSError as error:
            failed = error
        with contextlib.suppress(RuntimeError):  # the loop has ended; nobody waits any more
            loop.call_soon_threadsafe(settle, found, failed)

    threading.Thread(target=look_up, name="resolve", daemon=True).start()
    return await answer


def lookup(host: str, port: int) -> Sequence[str]:
    """The addresses of `host`, each once, in the system's order. Raises OSError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label that is too long
        raise OSError(0, "is no valid name") from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
