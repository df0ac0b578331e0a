"""Deliveries to teams' streams: a batch in one MULTI, marked delivered afterwards.

If the process ends in between, the batch is added again: at least once, with the same `id` in each entry.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import redis
import structlog
from sqlalchemy import Connection

from schemas.errors import InboxUnavailableError
from schemas.names import DeliveryState
from schemas.settings import Settings
from worker.inbox import translated
from worker.relay import claims
from worker.relay.backoff import Backoff
from worker.relay.claims import Due, Settled
from worker.relay.tally import Tally

log = structlog.get_logger(__name__)

_BATCH = 500


class Streams:
    """Adds announcements to `fenliu:team:<team>`."""

    def __init__(self, client: redis.Redis, settings: Settings, tally: Tally) -> None:
        self._client: Any = client  # redis-py types every answer as sync-or-async
        self._settings = settings
        self._tally = tally
        self._backoff = Backoff.of(settings)
        self._pause_s = settings.relay_poll_s
        self._next_at_s = 0.0

    def deliver(self, connection: Connection) -> int:
        """Deliver a batch of what is due; how many were tried. None while Redis is away: webhooks go on."""
        if time.monotonic() < self._next_at_s:
            return 0
        with connection.begin():
            due = claims.due_on_streams(connection, _BATCH)
        if not due:
            return 0
        try:
            answers = self._add(due)
        except InboxUnavailableError as error:
            log.warning("streams_away", reason=str(error)[:200], pause_s=self._pause_s)
            self._next_at_s = time.monotonic() + self._pause_s
            self._pause_s = min(self._pause_s * 2, max(self._settings.retry_max_s, self._settings.relay_poll_s))
            return 0
        self._pause_s = self._settings.relay_poll_s
        tried = [self._judge(each, answer) for each, answer in zip(due, answers, strict=True)]
        with connection.begin():
            there = claims.settle(connection, tried)
        self._take_back(
            [(each, answer) for each, answer in zip(due, answers, strict=True) if each.told.id not in there]
        )
        self._tally.stream_entries += sum(each.state is DeliveryState.DELIVERED for each in tried)
        self._tally.deliveries_failed += sum(each.state is DeliveryState.FAILED for each in tried)
        return len(tried)

    def _add(self, due: Sequence[Due]) -> list[Any]:
        """Add all in one MULTI; for each, its entry's id or the error of its key. Raises InboxUnavailableError."""
        with translated():
            pipe = self._client.pipeline(transaction=True)
            for each in due:
                key = self._settings.keys.team(each.told.team)
                pipe.xadd(key, each.told.fields(), maxlen=self._settings.team_max_entries, approximate=True)
            answers = pipe.execute(raise_on_error=False)
            wrong = [answer for answer in answers if isinstance(answer, redis.RedisError)]
            # Whatever else Redis says concerns all of them: out of memory, read-only, loading.
            if other := next((answer for answer in wrong if "WRONGTYPE" not in str(answer)), None):
                raise other
        return list(answers)

    def _take_back(self, added: Sequence[tuple[Due, Any]]) -> None:
        """Delete what was added of items that were erased meanwhile: whoever erased them may have looked before."""
        for due, answer in added:
            if isinstance(answer, redis.RedisError):
                continue
            try:
                with translated():
                    self._client.xdel(self._settings.keys.team(due.told.team), answer)
            except InboxUnavailableError as error:
                log.warning("erased_item_stays_told", announcement=due.told.id, reason=str(error)[:200])

    def _judge(self, due: Due, answer: Any) -> Settled:
        if not isinstance(answer, redis.RedisError):
            return Settled(due, DeliveryState.DELIVERED)
        error = str(answer)
        attempts = due.attempts + 1
        log.warning("stream_refused", delivery=due.id, team=due.told.team, attempts=attempts, reason=error[:200])
        if attempts >= self._settings.webhook_attempts:
            return Settled(due, DeliveryState.FAILED, None, error)
        return Settled(due, DeliveryState.WAITING, None, error, self._backoff.pause_s(attempts))
