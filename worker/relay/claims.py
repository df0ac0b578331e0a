"""The relay's statements: fanning out, finding what is due, settling what was tried.

All of them run on the connection that holds the lead, one transaction each, and hold no lock afterwards. Whoever
settles deliveries locks their outbox rows first, in order: else two who finish the last two deliveries of one row
would each see the other's as waiting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from schemas.names import DeliveryState
from worker.relay.announcement import Told


@dataclass(frozen=True, slots=True)
class Webhook:
    """A receiver that is enabled. `team` is None for all teams."""

    id: int
    team: str | None
    url: str
    secret: str

    def __repr__(self) -> str:
        return f"Webhook(id={self.id}, team={self.team!r})"


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery to try now. `webhook_id` is None for the team's stream; `attempts` were made before."""

    id: int
    webhook_id: int | None
    attempts: int
    told: Told


@dataclass(frozen=True, slots=True)
class Settled:
    """What a try has come to. `pause_s`: to wait before the next, if it is still waiting."""

    due: Due
    state: DeliveryState
    status_code: int | None = None
    error: str | None = None
    pause_s: float = 0.0


# A webhook that is being disabled or removed is waited for, and one that is fanned out to waits in turn.
_FAN_OUT = text(
    """
    WITH fresh AS MATERIALIZED (
        SELECT id, team FROM outbox WHERE NOT fanned_out ORDER BY id LIMIT :most FOR NO KEY UPDATE
    ), receivers AS MATERIALIZED (
        SELECT id, team FROM webhooks WHERE enabled ORDER BY id FOR SHARE
    ), made AS (
        INSERT INTO deliveries (outbox_id, webhook_id)
        SELECT id, NULL FROM fresh
        UNION ALL
        SELECT fresh.id, receivers.id FROM fresh JOIN receivers
            ON receivers.team IS NULL OR receivers.team = fresh.team
        ON CONFLICT (outbox_id, webhook_id) DO NOTHING
    )
    UPDATE outbox SET fanned_out = true FROM fresh WHERE outbox.id = fresh.id
    """
)

_WEBHOOKS = text("SELECT id, team, url, secret FROM webhooks WHERE enabled ORDER BY id")

_DUE_ON_STREAMS = text(
    """
    SELECT d.id AS delivery_id, d.webhook_id, d.attempts, o.*
    FROM deliveries d JOIN outbox o ON o.id = d.outbox_id
    WHERE d.state = 'waiting' AND d.webhook_id IS NULL AND d.next_attempt_at <= now()
    ORDER BY d.outbox_id LIMIT :most
    """
)

# One that waits for an earlier one of its item is not due, however long ago it was made.
_DUE_CALLS = text(
    """
    SELECT due.* FROM unnest(CAST(:webhooks AS bigint[]), CAST(:rooms AS int[])) AS receiver (id, room)
    CROSS JOIN LATERAL (
        SELECT d.id AS delivery_id, d.webhook_id, d.attempts, d.next_attempt_at, o.*
        FROM deliveries d JOIN outbox o ON o.id = d.outbox_id
        WHERE d.state = 'waiting' AND d.webhook_id = receiver.id AND d.next_attempt_at <= now()
            AND d.id <> ALL (CAST(:running AS bigint[]))
            AND NOT EXISTS (
                SELECT FROM outbox earlier JOIN deliveries before ON before.outbox_id = earlier.id
                WHERE earlier.source = o.source AND earlier.item_id = o.item_id AND earlier.id < o.id
                    AND before.webhook_id = d.webhook_id AND before.state = 'waiting'
            )
        ORDER BY d.next_attempt_at, d.outbox_id LIMIT receiver.room
    ) AS due
    ORDER BY due.next_attempt_at, due.id
    """
)

_LOCK = text("SELECT id FROM outbox WHERE id = ANY (CAST(:outbox_ids AS bigint[])) ORDER BY id FOR NO KEY UPDATE")

# What was delivered is delivered, even if somebody has given it up meanwhile; a failure changes only what waits.
_SETTLE = text(
    """
    UPDATE deliveries SET state = tried.state, attempts = attempts + 1, status_code = tried.status_code,
        last_error = tried.error, next_attempt_at = now() + tried.pause_s * interval '1 second',
        delivered_at = CASE WHEN tried.state = 'delivered' THEN now() END
    FROM unnest(CAST(:ids AS bigint[]), CAST(:states AS text[]), CAST(:codes AS int[]), CAST(:errors AS text[]),
            CAST(:pauses AS double precision[])) AS tried (id, state, status_code, error, pause_s)
    WHERE deliveries.id = tried.id
        AND (deliveries.state = 'waiting' OR (deliveries.state = 'failed' AND tried.state = 'delivered'))
    """
)

_COMPLETE = text(
    """
    UPDATE outbox SET delivered_at = now()
    WHERE id = ANY (CAST(:outbox_ids AS bigint[])) AND delivered_at IS NULL AND fanned_out
        AND NOT EXISTS (SELECT FROM deliveries WHERE outbox_id = outbox.id AND state = 'waiting')
    """
)


def fan_out(connection: Connection, most: int) -> int:
    """Make a delivery to each receiver for up to `most` new announcements; how many these were."""
    return connection.execute(_FAN_OUT, {"most": most}).rowcount


def webhooks(connection: Connection) -> list[Webhook]:
    """Those that are enabled."""
    return [Webhook(row.id, row.team, row.url, row.secret) for row in connection.execute(_WEBHOOKS)]


def due_on_streams(connection: Connection, most: int) -> list[Due]:
    """Deliveries to teams' streams, oldest announcement first."""
    return [_due(row) for row in connection.execute(_DUE_ON_STREAMS, {"most": most})]


def due_calls(connection: Connection, rooms: Mapping[int, int], running: Sequence[int]) -> list[Due]:
    """Calls to make: for each webhook's id up to its room, none of those `running`, one an item at most."""
    given = {"webhooks": list(rooms), "rooms": list(rooms.values()), "running": list(running)}
    return [_due(row) for row in connection.execute(_DUE_CALLS, given)]


def settle(connection: Connection, tried: Sequence[Settled]) -> set[int]:
    """Write what tries have come to, and which announcements are through with it.

    Answers the announcements that are still there: those of an item that was erased meanwhile are not.
    """
    outbox_ids = sorted({each.due.told.id for each in tried})
    there = lock_outbox(connection, outbox_ids)
    connection.execute(
        _SETTLE,
        {
            "ids": [each.due.id for each in tried],
            "states": [each.state.value for each in tried],
            "codes": [each.status_code for each in tried],
            "errors": [each.error for each in tried],
            "pauses": [each.pause_s for each in tried],
        },
    )
    complete(connection, outbox_ids)
    return there


def lock_outbox(connection: Connection, outbox_ids: Sequence[int]) -> set[int]:
    """Lock these rows until the transaction ends; those that exist. First of all that changes their deliveries."""
    return set(connection.scalars(_LOCK, {"outbox_ids": list(outbox_ids)}))


def complete(connection: Connection, outbox_ids: Sequence[int]) -> None:
    """Mark those of the announcements, locked before, that have no delivery waiting any more."""
    connection.execute(_COMPLETE, {"outbox_ids": list(outbox_ids)})


def _due(row: Any) -> Due:
    told = Told(row.id, row.kind, row.source, row.item_id, row.team, row.payload, row.created_at)
    return Due(row.delivery_id, row.webhook_id, row.attempts, told)
