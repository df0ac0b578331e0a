"""The relay: a thread in every worker, of which one at a time delivers what the outbox holds.

One round: fan out what is new, add to streams, settle the calls that came back, start those that are due. It goes on
at once while there is something to do, and looks again every relay_poll_s otherwise. Ticket texts and secrets are
never logged.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import redis
import structlog
from sqlalchemy import Connection, Engine

from schemas.database import translated
from schemas.errors import DatabaseUnavailableError, RowRefusedError
from schemas.settings import Settings
from worker.relay import claims
from worker.relay.backoff import Backoff
from worker.relay.calls import Calls
from worker.relay.lead import Lead
from worker.relay.receivers import Receivers
from worker.relay.streams import Streams
from worker.relay.tally import Tally
from worker.relay.webhook import Caller

log = structlog.get_logger(__name__)

_FAN_OUT_ROWS = 500
_FOLLOW_S = 2.0
"""Longest time between two tries to take the lead."""
_FROZEN_S = 15.0
"""More than Redis may keep a round waiting."""


class Relay(threading.Thread):
    """Delivers from `start` to `stop`, whatever happens to Redis and Postgres meanwhile."""

    def __init__(
        self,
        *,
        engine: Engine,
        client: redis.Redis,
        settings: Settings,
        caller: Callable[[], Caller] | None = None,
    ) -> None:
        """`engine` should hold no connections of its own (NullPool): the lead's is kept as long as the lead."""
        super().__init__(name="relay", daemon=True)
        self._engine = engine
        self._client = client
        self._settings = settings
        self._caller = caller or (lambda: Caller(settings))
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._pause_s = settings.relay_poll_s
        self.tally = Tally()

    def stop(self) -> None:
        """Ask it to end; calls that run are given up and made again by the next leader."""
        self._stopping.set()
        self._wake.set()

    def run(self) -> None:
        """Wait for the lead, deliver while it is held, begin again when it is lost."""
        while not self._stopping.is_set():
            try:
                with translated(), Lead(self._engine, self._settings.relay_poll_s + _FROZEN_S) as lead:
                    self._follow(lead)
                    if not self._stopping.is_set():
                        self.tally.leads = True
                        log.info("relay_leads")
                        self._deliver(lead.connection)
            except (DatabaseUnavailableError, RowRefusedError) as error:
                log.warning("relay_away", reason=str(error)[:200], pause_s=self._pause_s)
                self._pause()
            except Exception:
                # A fault of ours. A relay that is gone for good would be worse than one that complains.
                log.exception("relay_broke", pause_s=self._pause_s)
                self._pause()
            finally:
                self.tally.leads = False

    def _pause(self) -> None:
        self._stopping.wait(self._pause_s)
        self._pause_s = min(self._pause_s * 2, max(self._settings.retry_max_s, self._settings.relay_poll_s))

    def _follow(self, lead: Lead) -> None:
        while not lead.take() and not self._stopping.is_set():
            self._stopping.wait(min(self._settings.relay_poll_s, _FOLLOW_S))

    def _deliver(self, connection: Connection) -> None:
        backoff = Backoff.of(self._settings)
        streams = Streams(self._client, self._settings, self.tally)
        calls = Calls(
            caller=self._caller,
            receivers=Receivers(backoff, time.monotonic),
            backoff=backoff,
            attempts=self._settings.webhook_attempts,
            tally=self.tally,
            wake=self._wake.set,
        )
        with calls.courier:
            while not self._stopping.is_set():
                self._wake.clear()
                if not self._round(connection, streams, calls) and not self._stopping.is_set():
                    self._wake.wait(self._settings.relay_poll_s)
                self._pause_s = self._settings.relay_poll_s
            calls.settle(connection)

    def _round(self, connection: Connection, streams: Streams, calls: Calls) -> bool:
        """One look at everything; whether there may be more to do at once."""
        with connection.begin():
            fanned_out = claims.fan_out(connection, _FAN_OUT_ROWS)
        self.tally.announcements += fanned_out
        added = streams.deliver(connection)
        settled = calls.settle(connection)
        calls.start(connection)
        return bool(fanned_out or added or settled)
