"""A webhook's receiver on a thread: answers 204, and now and then 500, after which it is called again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FAILS_EVERY = 50


@dataclass
class Calls:
    """How often it was called, and how often it answered that it failed."""

    taken: int = 0
    failed: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def receiver() -> Iterator[tuple[str, Calls]]:
    """Its URL, and what it counts."""
    calls = Calls()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            with calls.lock:
                fails = (calls.taken + calls.failed) % FAILS_EVERY == FAILS_EVERY - 1
                calls.failed += fails
                calls.taken += not fails
            self.send_response(500 if fails else 204)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/told", calls
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
