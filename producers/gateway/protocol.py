"""HTTP as uvicorn speaks it, and how long a connection may take to say what it wants."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class PromptProtocol(HttpToolsProtocol):
    """Closes a connection whose request line and headers take over `headers_s` or `headers_bytes`.

    The same number of bytes bounds what stands around the pieces of a chunked body, trailers too, which nobody reads.
    uvicorn by itself knows no such bounds, and takes trailers for headers. Closed is also a connection that is still
    sending a body that was answered long ago (413, 401): until then the rest is thrown away, since closing at once
    would reset the connection before its sender has read the answer.
    """

    headers_s = 20.0
    headers_bytes = 65_536
    _unended_bytes: int | None = None
    _in_body = False
    _closing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """A caller has connected."""
        super().connection_made(transport)
        self._close_later()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._unended_bytes = 0
        self._close_later()

    def on_headers_complete(self) -> None:
        """Its body is `producers.gateway.body`'s to bound."""
        self._stay_open()
        self._unended_bytes = None
        self._in_body = True
        super().on_headers_complete()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; a trailer, which comes after the body, is dropped."""
        if not self._in_body:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """A piece of the body: what surrounds it was worth its bytes."""
        self._unended_bytes = None
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._unended_bytes = None
        self._in_body = False
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Bytes that belong to no request being answered do not keep a connection open."""
        super().data_received(data)
        if self._unended_bytes is not None:
            self._unended_bytes += len(data)
            if self._unended_bytes > self.headers_bytes:
                self.transport.close()
                return
        elif self._in_body:
            self._unended_bytes = 0
        answered = self.cycle is None or self.cycle.response_complete
        if answered and self.timeout_keep_alive_task is None and not self.transport.is_closing():
            self._close_later()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._stay_open()
        super().connection_lost(exc)

    def _close_later(self) -> None:
        if self._closing is None:
            self._closing = self.loop.call_later(self.headers_s, self._close_unless_asked)

    def _close_unless_asked(self) -> None:
        self._closing = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
        else:  # the next request has begun before this one is answered
            self._close_later()

    def _stay_open(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
