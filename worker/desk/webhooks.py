"""Webhooks: adding them, switching them off and on, new secrets, a call to try one out.

Calling them with announcements is the relay's (`worker.relay`). Secrets come out of here once, when they are made.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, delete, select, update
from sqlalchemy.dialects import postgresql

from schemas.database import translated
from schemas.errors import WebhookError
from schemas.names import DeliveryState
from schemas.settings import Settings
from schemas.signature import new_secret
from schemas.tables import deliveries, routes, webhooks
from worker.relay import claims
from worker.relay.address import allowed, shown, target_of
from worker.relay.guard import lookup
from worker.relay.webhook import Answer, Call, Caller

_TEAM_CHARS = 200


@dataclass(frozen=True, slots=True)
class Webhook:
    """One receiver, without its secret. `team` is None for all teams; `url` without what its query says."""

    id: int
    team: str | None
    url: str
    secret: str
    enabled: bool
    created_at: datetime
    created_by: str


def add(engine: Engine, settings: Settings, url: str, *, team: str | None, by: str) -> tuple[Webhook, str]:
    """Add a webhook and enable it; with it, its secret, which nobody gets to see again.

    Raises WebhookError if the URL may not be called, or is there already for this team, DatabaseUnavailableError.
    """
    if team is not None and not 1 <= len(team) <= _TEAM_CHARS:
        raise WebhookError(f"a team's name has 1 to {_TEAM_CHARS} characters")
    target = target_of(url)
    try:
        addresses = lookup(target.host, target.port)
    except OSError as error:
        raise WebhookError(f"{target.host} does not resolve ({error.strerror}); is it spelled right?") from error
    allowed(target.host, addresses, allow_private=settings.webhook_allow_private)
    secret = new_secret()
    row = {"team": team, "url": url, "secret": secret, "created_by": by}
    made = postgresql.insert(webhooks).values(row).on_conflict_do_nothing().returning(webhooks)
    with translated(), engine.begin() as connection:
        found = connection.execute(made).one_or_none()
    if found is None:
        raise WebhookError("this URL is there already for this team; see `fenliu webhooks list`")
    return _webhook(found), secret


def find(engine: Engine) -> list[Webhook]:
    """All webhooks, oldest first. Raises DatabaseUnavailableError."""
    with translated(), engine.connect() as connection:
        return [_webhook(row) for row in connection.execute(select(webhooks).order_by(webhooks.c.id))]


def known_team(engine: Engine, team: str) -> bool:
    """Whether any version of a route set has this team. Raises DatabaseUnavailableError."""
    with translated(), engine.connect() as connection:
        return connection.execute(select(routes.c.team).where(routes.c.team == team).limit(1)).first() is not None


def enable(engine: Engine, webhook_id: int) -> None:
    """Call it with what is announced from now on. Raises WebhookError if there is none, DatabaseUnavailableError."""
    with translated(), engine.begin() as connection:
        _change(connection, webhook_id, enabled=True)


def disable(engine: Engine, webhook_id: int) -> int:
    """Call it no more. What waits for it has failed, and can be replayed once it is enabled; how many these are.

    Raises WebhookError if there is none, DatabaseUnavailableError.
    """
    with translated(), engine.begin() as connection:
        # Its row's lock keeps the relay from fanning out to it until all is done.
        _change(connection, webhook_id, enabled=False)
        outbox_ids = _waiting(connection, webhook_id)
        claims.lock_outbox(connection, outbox_ids)
        given_up = connection.execute(
            update(deliveries)
            .where(deliveries.c.webhook_id == webhook_id, deliveries.c.state == DeliveryState.WAITING)
            .values(state=DeliveryState.FAILED, last_error="the webhook was disabled")
        ).rowcount
        claims.complete(connection, outbox_ids)
        return given_up


def remove(engine: Engine, webhook_id: int) -> None:
    """Delete it, with all that is known of its deliveries. Raises WebhookError, DatabaseUnavailableError."""
    with translated(), engine.begin() as connection:
        _change(connection, webhook_id, enabled=False)
        outbox_ids = _waiting(connection, webhook_id)
        claims.lock_outbox(connection, outbox_ids)
        connection.execute(delete(webhooks).where(webhooks.c.id == webhook_id))
        claims.complete(connection, outbox_ids)


def rotate(engine: Engine, webhook_id: int) -> str:
    """Give it a new secret, which signs every call from now on. Raises WebhookError, DatabaseUnavailableError."""
    secret = new_secret()
    with translated(), engine.begin() as connection:
        _change(connection, webhook_id, secret=secret)
    return secret


def ping(engine: Engine, settings: Settings, webhook_id: int, caller: Callable[[], Caller] | None = None) -> Answer:
    """Call it once, now, with a signed ping; what it answered. Also if it is disabled.

    Raises WebhookError if there is none, DatabaseUnavailableError.
    """
    with translated(), engine.connect() as connection:
        row = connection.execute(select(webhooks).where(webhooks.c.id == webhook_id)).one_or_none()
    if row is None:
        raise _no_such(webhook_id)
    content = {"kind": "ping", "webhook_id": webhook_id, "at": datetime.now(UTC).isoformat()}
    call = Call(row.url, row.secret, f"ping-{uuid.uuid4().hex}", json.dumps(content).encode())

    async def once() -> Answer:
        made = caller() if caller else Caller(settings)
        try:
            return await made.call(call)
        finally:
            await made.close()

    return asyncio.run(once())


def _change(connection: Connection, webhook_id: int, **values: Any) -> None:
    if not connection.execute(update(webhooks).where(webhooks.c.id == webhook_id).values(**values)).rowcount:
        raise _no_such(webhook_id)


def _no_such(webhook_id: int) -> WebhookError:
    return WebhookError(f"there is no webhook {webhook_id}; see `fenliu webhooks list`")


def _waiting(connection: Connection, webhook_id: int) -> Sequence[int]:
    """The announcements that wait for it."""
    return connection.scalars(
        select(deliveries.c.outbox_id)
        .where(deliveries.c.webhook_id == webhook_id, deliveries.c.state == DeliveryState.WAITING)
        .order_by(deliveries.c.outbox_id)
    ).all()


def _webhook(row: Any) -> Webhook:
    return Webhook(
        row.id, row.team, shown(row.url), row.secret[:6] + "****", row.enabled, row.created_at, row.created_by
    )
