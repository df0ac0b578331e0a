"""`/metrics` and `/healthz` of a worker, answered by threads of their own beside the batches.

What is shown is `worker.metrics`'; what healthy means is the caller's.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from schemas.errors import SetupError

TEXT_FORMAT: Final = "text/plain; version=0.0.4; charset=utf-8"
_PLAIN = "text/plain; charset=utf-8"
_TIMEOUT_S = 5.0
"""Longest that a caller may keep a thread waiting for a line."""
_MOST_CALLERS = 8


class MetricsServer:
    """Listens from the start on, answers between `start` and `close`."""

    def __init__(self, host: str, port: int, *, page: Callable[[], bytes], wrong: Callable[[], str | None]) -> None:
        """`page` makes what `/metrics` answers; `wrong` says why `/healthz` answers 503, or None for 200.

        Raises SetupError if the address cannot be listened on.
        """
        try:
            family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
            self._server = _Server(family, address, page, wrong)
        except OSError as error:
            raise SetupError(
                f"cannot show metrics on {host} port {port}: {error.strerror or error}; change FENLIU_METRICS_PORT "
                "(0: none are shown) or FENLIU_METRICS_HOST"
            ) from None
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)

    @property
    def port(self) -> int:
        """The port it listens on."""
        port: int = self._server.server_address[1]
        return port

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Answer no more; the port is free again."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join(_TIMEOUT_S)
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    """A thread for each caller, up to a bound."""

    daemon_threads = True
    block_on_close = False  # a caller that says nothing must not hold up the end

    def __init__(
        self, family: socket.AddressFamily, address: Any, page: Callable[[], bytes], wrong: Callable[[], str | None]
    ) -> None:
        self.address_family = family
        self.page = page
        self.wrong = wrong
        self._room = threading.BoundedSemaphore(_MOST_CALLERS)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve it in a thread, or hang up when there are too many."""
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """As the base class, then make room."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that went away is nothing to report."""


class _Handler(BaseHTTPRequestHandler):
    """One call; HTTP/1.0, so that every connection ends with its answer."""

    server: _Server
    server_version = "fenliu"
    sys_version = ""
    timeout = _TIMEOUT_S

    def do_GET(self) -> None:
        """Answer /metrics and /healthz."""
        match self.path.partition("?")[0]:
            case "/metrics":
                self._answer(200, TEXT_FORMAT, self.server.page())
            case "/healthz":
                wrong = self.server.wrong()
                self._answer(503 if wrong else 200, _PLAIN, f"{wrong or 'ok'}\n".encode())
            case _:
                self._answer(404, _PLAIN, b"there are /metrics and /healthz\n")

    do_HEAD = do_GET

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """A probe every few seconds is nothing to log."""
