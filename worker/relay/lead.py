"""The lead: a Postgres advisory lock that one relay of all workers holds, on a connection of its own.

All that the relay writes, it writes on this connection: when it is lost, so is the right to write.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from sqlalchemy import Connection, Engine, text

from schemas.names import ADVISORY_LOCK_RELAY

# The server looks after a leader whose machine has gone without a word (on unix sockets it is told at once), and
# after one that is frozen, which asks nothing any more.
_WATCH = text(
    "SELECT set_config('tcp_keepalives_idle', '4', false), set_config('tcp_keepalives_interval', '2', false),"
    " set_config('tcp_keepalives_count', '2', false), set_config('idle_session_timeout', :idle_ms, false)"
)
_TRY = text("SELECT pg_try_advisory_lock(:key)")


class Lead:
    """A connection that may hold the lead. Not thread-safe. Errors are the driver's: translate them."""

    def __init__(self, engine: Engine, idle_s: float) -> None:
        """`idle_s`: time without a statement after which the server ends the connection."""
        self._engine = engine
        self._idle_s = idle_s
        self._connection: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection, and with it the lead."""
        if self._connection is not None:
            # Not back into a pool: there it would keep the lock.
            self._connection.invalidate()
            self._connection.close()

    @property
    def connection(self) -> Connection:
        """The lead's connection. After an error it must not be used again: it might connect anew, without the lock."""
        assert self._connection is not None  # noqa: S101 - after take()
        return self._connection

    def take(self) -> bool:
        """Try to take the lead; whether it is held from now on."""
        if self._connection is None:
            self._connection = self._engine.connect()
            with self._connection.begin():
                self._connection.execute(_WATCH, {"idle_ms": str(int(self._idle_s * 1000))})
        with self._connection.begin():
            return bool(self._connection.execute(_TRY, {"key": ADVISORY_LOCK_RELAY}).scalar_one())
