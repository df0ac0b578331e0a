"""Connections to Postgres that end when nobody answers on them any more, though they are open.

TCP notices a peer that is gone. It does not notice a proxy or firewall in between that has forgotten the connection
and goes on acknowledging, and libpq waits for ever. So whoever has waited for long is compared with what the server
says on a fresh connection: if it works on nothing for us, its answer has got lost.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import psycopg2
from psycopg2 import extensions

SILENT_S: Final = 4.0
"""Wait after which the server is asked what it does."""

_LOOK_S: Final = 1.0
_PROBE_S: Final = 3.0
_LEISURE_S: Final = 30.0

# Another session's statement is only seen by its own role, which ours is. A server with track_activities off says
# 'disabled', which is no reason to cut. A pooler answers with the pid of a session of its own: then nothing can be
# learned.
_AT_WORK = """
    SELECT pg_backend_pid(), array(
        SELECT pid FROM pg_stat_activity WHERE pid = ANY(%s) AND (state IS NULL OR state NOT LIKE 'idle%%'))
"""


class Answered(extensions.connection):
    """A connection that `_Watch` looks after while somebody waits for it."""

    def __init__(self, dsn: str, *arguments: Any, **options: Any) -> None:
        self.waiting_since_s: float | None = None
        self.longest_s = 0.0
        """Longest wait whatever the server says; 0: no such bound."""
        self.whole_dsn = dsn  # `dsn` has no password
        super().__init__(dsn, *arguments, **options)
        # Of our own: libpq may close its descriptor, and the number may soon mean something else.
        try:
            self._socket = socket.socket(fileno=os.dup(self.fileno()))
            self.peer = self._socket.getpeername()
        except OSError as error:  # no descriptor left, or the server has hung up
            raise psycopg2.OperationalError(f"connection to server lost: {error}") from error
        self.pid = self.info.backend_pid  # libpq's own may be freed while another thread asks for it
        weakref.finalize(self, self._socket.close)  # commands leave closing to their end
        _WATCH.look_after(self)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Somebody waits for the server meanwhile."""
        self.waiting_since_s = time.monotonic()
        try:
            yield
        finally:
            self.waiting_since_s = None

    def cut(self) -> None:
        """Let whoever waits get an error. From any thread."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def commit(self) -> None:
        """As in the base class."""
        with self.waiting():
            super().commit()

    def rollback(self) -> None:
        """As in the base class."""
        with self.waiting():
            super().rollback()

    def close(self) -> None:
        """As in the base class."""
        self._socket.close()
        super().close()


class AnsweredCursor(extensions.cursor):
    """A cursor of an `Answered`."""

    def execute(self, query: Any, vars: Any = None) -> None:
        """As in the base class."""
        connection: Any = self.connection
        with connection.waiting():
            super().execute(query, vars)


class _Watch:
    """Looks at all open connections from a thread that lives as long as there are any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: weakref.WeakSet[Answered] = weakref.WeakSet()
        self._thread: threading.Thread | None = None
        self._never = threading.Event()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """What a process was forked with is its parent's: cutting it here would cut it there."""
        self._lock = threading.Lock()
        self._open = weakref.WeakSet()
        self._thread = None

    def look_after(self, connection: Answered) -> None:
        """From now on."""
        with self._lock:
            self._open.add(connection)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="answering", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        idle_since_s = time.monotonic()
        suspects: dict[int, float] = {}
        while True:
            self._never.wait(_LOOK_S)
            with self._lock:
                there = [connection for connection in self._open if not connection.closed]
                if there:
                    idle_since_s = time.monotonic()
                elif time.monotonic() - idle_since_s > _LEISURE_S:
                    self._thread = None
                    return
            suspects = _cut_unanswered(there, suspects)
            del there[:]  # or what nobody closes would be kept from look to look


_WATCH: Final = _Watch()


def _cut_unanswered(there: Iterable[Answered], suspects: dict[int, float]) -> dict[int, float]:
    """Cut those that waited in vain the last time already, and still do; who waits in vain now, and since when."""
    now_s = time.monotonic()
    silent: list[tuple[Answered, float]] = []
    for connection in there:
        since_s = connection.waiting_since_s
        if since_s is None or now_s - since_s < SILENT_S:
            continue
        if connection.longest_s and now_s - since_s > connection.longest_s:
            connection.cut()
        else:
            silent.append((connection, since_s))
    if not silent:
        return {}
    groups: dict[tuple[str, Any], list[int]] = {}
    for connection, _ in silent:
        groups.setdefault((connection.whole_dsn, connection.peer), []).append(connection.pid)
    at_work = {(dsn, peer): _at_work(dsn, peer, pids) for (dsn, peer), pids in groups.items()}
    found = {}
    for connection, since_s in silent:
        working = at_work[connection.whole_dsn, connection.peer]
        if working is None or connection.pid in working or connection.waiting_since_s != since_s:
            continue
        if suspects.get(id(connection)) == since_s:
            connection.cut()
        else:
            found[id(connection)] = since_s
    return found


def _at_work(dsn: str, peer: Any, pids: Sequence[int]) -> set[int] | None:
    """Which of these sessions the server works for; None if it does not say, or `dsn` no longer leads to `peer`."""
    until_s = time.monotonic() + _PROBE_S
    try:
        probe: Any = psycopg2.connect(dsn, async_=1)
    except psycopg2.Error:
        return None
    try:
        _wait(probe, until_s)
        with socket.socket(fileno=os.dup(probe.fileno())) as probed:
            if probed.getpeername() != peer:  # one of several hosts: it knows nothing of the others' sessions
                return None
        cursor = probe.cursor()
        cursor.execute(_AT_WORK, [list(pids)])
        _wait(probe, until_s)
        own_pid, found = cursor.fetchone()
        return set(found) if own_pid == probe.info.backend_pid else None
    except (psycopg2.Error, OSError):
        return None
    finally:
        probe.close()


def _wait(probe: Any, until_s: float) -> None:
    """Until it has connected or answered. Raises TimeoutError."""
    while (state := probe.poll()) != extensions.POLL_OK:
        poller = select.poll()
        poller.register(probe.fileno(), select.POLLIN if state == extensions.POLL_READ else select.POLLOUT)
        if not poller.poll(max(0.0, until_s - time.monotonic()) * 1000):
            raise TimeoutError
