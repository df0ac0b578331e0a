"""A webhook's receiver as a real HTTP server on a thread, which behaves as a test tells it to."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

Behave = Callable[["Request"], None]


@dataclass
class Request:
    """One call as it arrived, and the means to answer it."""

    path: str
    headers: dict[str, str]
    body: bytes
    handler: BaseHTTPRequestHandler
    ended: threading.Event

    @property
    def content(self) -> dict[str, Any]:
        """The body, parsed."""
        return dict(json.loads(self.body))

    @property
    def key(self) -> str:
        """Its idempotency key."""
        return self.headers["idempotency-key"]

    def answer(self, status: int, **headers: str) -> None:
        """Answer with a status, headers (underscores for dashes) and a short body."""
        self.handler.send_response(status)
        for name, value in {"Content_Length": "2", **headers}.items():
            self.handler.send_header(name.replace("_", "-"), value)
        self.handler.end_headers()
        self.handler.wfile.write(b"ok")

    def hang(self) -> None:
        """Never answer, until the test ends."""
        self.ended.wait(60)

    def drip(self, head: bytes) -> None:
        """Send `head` at once, then a byte now and then, until the caller has had enough."""
        self.handler.wfile.write(head)
        try:
            while not self.ended.wait(0.05):
                self.handler.wfile.write(b"x")
        except OSError:
            pass

    def close(self) -> None:
        """Close the connection without a word."""
        self.handler.connection.shutdown(socket.SHUT_RDWR)


def accept(request: Request) -> None:
    """What a healthy receiver does."""
    request.answer(200)


@dataclass
class Receiver:
    """Runs within `with`. `behave` is called for every request, on a thread of the request's own."""

    behave: Behave = accept
    tls: ssl.SSLContext | None = None
    requests: list[Request] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._ended = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.path, headers, body, self, receiver._ended)
                receiver.requests.append(request)
                try:
                    receiver.behave(request)
                except OSError:
                    self.close_connection = True  # the caller has gone

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign, assignment]  # callers that go away
        if self.tls:
            self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        return int(self._server.server_address[1])

    def url(self, path: str = "/hook", host: str = "127.0.0.1") -> str:
        """Its URL."""
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{path}"

    def told(self) -> list[tuple[str, str]]:
        """Item and team of each request, in order of arrival."""
        return [(each.content["item_id"], each.content["team"]) for each in list(self.requests)]
