"""Deliveries to webhooks: starts those that are due, settles those that came back.

The database is asked and told on the lead's connection, in one transaction each; calls are made outside of any.
"""

from __future__ import annotations

import queue
from collections.abc import Callable

import structlog
from sqlalchemy import Connection

from schemas.names import DeliveryState
from worker.relay import claims
from worker.relay.backoff import Backoff
from worker.relay.claims import Due, Settled
from worker.relay.courier import Courier
from worker.relay.receivers import Receivers
from worker.relay.tally import Tally
from worker.relay.webhook import Answer, Call, Caller

log = structlog.get_logger(__name__)


class Calls:
    """The calls of one lead. `wake` is called from another thread when one has come back."""

    def __init__(
        self,
        *,
        caller: Callable[[], Caller],
        receivers: Receivers,
        backoff: Backoff,
        attempts: int,
        tally: Tally,
        wake: Callable[[], None],
    ) -> None:
        self.courier = Courier(caller, self._came_back)
        self._receivers = receivers
        self._backoff = backoff
        self._attempts = attempts
        self._tally = tally
        self._wake = wake
        self._running: set[int] = set()
        self._answers: queue.SimpleQueue[tuple[Due, Answer]] = queue.SimpleQueue()

    def start(self, connection: Connection) -> None:
        """Start what is due, as far as there is room."""
        with connection.begin():
            webhooks = {webhook.id: webhook for webhook in claims.webhooks(connection)}
            rooms = self._receivers.rooms(webhooks)
            due = claims.due_calls(connection, rooms, sorted(self._running)) if rooms else []
        for each in due:
            assert each.webhook_id is not None  # noqa: S101 - only such are asked for
            webhook = webhooks[each.webhook_id]
            self._running.add(each.id)
            self._receivers.started(webhook.id)
            self.courier.send(each, Call(webhook.url, webhook.secret, str(each.id), each.told.body()))

    def settle(self, connection: Connection) -> int:
        """Write what has come back; how many calls that were."""
        came_back: list[tuple[Due, Answer]] = []
        while not self._answers.empty():
            came_back.append(self._answers.get())
        if not came_back:
            return 0
        tried = [self._judge(due, answer) for due, answer in came_back]
        with connection.begin():
            claims.settle(connection, tried)
        for each, (due, answer) in zip(tried, came_back, strict=True):
            assert due.webhook_id is not None  # noqa: S101
            self._running.discard(due.id)
            answered = answer.state is not DeliveryState.WAITING
            self._receivers.ended(due.webhook_id, answered=answered, retry_after_s=answer.retry_after_s)
            self._tally.called(each.state)
            if each.state is not DeliveryState.DELIVERED:
                log.warning(
                    "delivery_failed" if each.state is DeliveryState.FAILED else "call_failed",
                    delivery=due.id, webhook=due.webhook_id, attempts=due.attempts + 1, reason=each.error,
                )  # fmt: skip
        return len(tried)

    def _judge(self, due: Due, answer: Answer) -> Settled:
        if answer.state is not DeliveryState.WAITING:
            return Settled(due, answer.state, answer.status_code, answer.error)
        attempts = due.attempts + 1
        if attempts >= self._attempts:
            return Settled(due, DeliveryState.FAILED, answer.status_code, answer.error)
        pause_s = self._backoff.pause_s(attempts, answer.retry_after_s)
        return Settled(due, DeliveryState.WAITING, answer.status_code, answer.error, pause_s)

    def _came_back(self, due: Due, answer: Answer) -> None:
        self._answers.put((due, answer))
        self._wake()
