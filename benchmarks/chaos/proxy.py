"""A TCP proxy to a unix socket that misbehaves when told to: what networks do to connections that are open."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import cast

_CHUNK_BYTES = 65_536
_ABORT = struct.pack("ii", 1, 0)  # closing sends a reset at once


class _Link:
    """One client's connection and the one that was opened for it."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.ends = client, server
        self.passing = True  # False: nothing more will ever come through

    def abort(self) -> None:
        """Reset both ends."""
        for end in self.ends:
            with contextlib.suppress(OSError):
                end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
            end.transport.abort()

    def half_close(self, toward_server: bool) -> None:
        """Say to one end that no more will come; the other hears nothing of it."""
        with contextlib.suppress(OSError, RuntimeError):
            self.ends[toward_server].write_eof()
        self.passing = False


class Proxy:
    """Listens on 127.0.0.1, in a thread of its own. Used as a context. Every method may be called from anywhere."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy-{target.name}", daemon=True)
        self._links: set[_Link] = set()
        self._open = asyncio.Event()
        self._open.set()
        self._refusing = False
        self._delay_s = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    def __enter__(self) -> Proxy:
        self._thread.start()
        starting = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_CHUNK_BYTES), self._loop
        )
        self._server = starting.result(10)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def drop(self) -> None:
        """Reset every connection."""
        self._call(self._abort_links)

    def refuse(self, refusing: bool) -> None:
        """Reset new connections, too, as long as this holds."""
        self._refusing = refusing

    def stall(self, stalled: bool) -> None:
        """Accept and forward nothing as long as this holds; then all of it."""
        self._call(self._open.clear if stalled else self._open.set)

    def forget(self) -> None:
        """Never forward anything again on the connections that are open now, as a firewall that has restarted."""
        self._call(self._forget_links)

    def half_close(self, toward_server: bool) -> None:
        """Close one direction of every connection; what comes in the other gets lost."""

        def close() -> None:
            for link in list(self._links):
                link.half_close(toward_server)

        self._call(close)

    def delay(self, seconds: float) -> None:
        """Forward every piece so much later."""
        self._delay_s = seconds

    def _abort_links(self) -> None:
        for link in list(self._links):
            link.abort()

    def _forget_links(self) -> None:
        for link in self._links:
            link.passing = False

    def _call(self, change: Callable[[], object]) -> None:
        done = threading.Event()

        def run() -> None:
            change()
            done.set()

        self._loop.call_soon_threadsafe(run)
        done.wait(10)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._tasks.add(task)
        try:
            await self._open.wait()
            server_reader, server_writer = await asyncio.open_unix_connection(str(self._target), limit=_CHUNK_BYTES)
        except OSError:
            writer.transport.abort()
            self._tasks.discard(task)
            return
        link = _Link(writer, server_writer)
        self._links.add(link)
        try:
            await asyncio.gather(self._pass(link, reader, server_writer), self._pass(link, server_reader, writer))
        except (OSError, asyncio.CancelledError):
            pass  # either end has gone, or the proxy is to end
        finally:
            link.abort()
            self._links.discard(link)
            self._tasks.discard(task)

    async def _pass(self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK_BYTES):
            if self._delay_s:
                await asyncio.sleep(self._delay_s)
            await self._open.wait()
            if link.passing:
                writer.write(data)
                await writer.drain()
        if link.passing:  # else the end has been told what it is to hear
            await self._open.wait()
            with contextlib.suppress(OSError, RuntimeError):
                writer.write_eof()

    async def _end(self) -> None:
        self._server.close()
        self._open.set()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
