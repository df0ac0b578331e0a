"""How the inboxes stand: what waits in them, how long the oldest entry has waited, and which workers empty them.

Reads Redis alone. What Postgres knows of how it goes is `worker.status`'.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import redis

from schemas.messages import entry_order
from schemas.names import GROUP, Keys, Lane
from worker.inbox import translated
from worker.pulse import workers

STILL_S = 60.0
"""Time without a commit, with entries waiting, after which an inbox counts as standing still."""

_NUMBERS = {"pid": int, "slots": int, "items": int, "held": int, "started_at": float, "last_commit_at": float}


@dataclass(frozen=True, slots=True)
class InboxState:
    """One inbox. `backlog` counts every entry not yet acknowledged; `pending` those that a worker has taken."""

    backlog: int
    pending: int
    oldest_age_s: float | None


@dataclass(frozen=True, slots=True)
class InboxesState:
    """Both inboxes and the workers that empty them."""

    inboxes: dict[Lane, InboxState]
    workers: list[dict[str, Any]]
    now_s: float

    def standing_still(self) -> str | None:
        """Why the inboxes do not move, or None if they do or there is nothing to move."""
        if not self.workers:
            return "no worker has a heartbeat"
        waiting = [state.oldest_age_s or 0.0 for state in self.inboxes.values() if state.backlog]
        active_at = max(max(worker["last_commit_at"], worker["started_at"]) for worker in self.workers)
        idle_s = self.now_s - active_at
        if waiting and max(waiting) > STILL_S and idle_s > STILL_S:
            return f"entries wait, and nothing has been committed for {idle_s:.0f} s"
        return None


def look_at_inboxes(client: redis.Redis, keys: Keys) -> InboxesState:
    """How both inboxes stand now. `client` answers in bytes. Raises InboxUnavailableError."""
    anyway: Any = client  # redis-py types every answer as sync-or-async
    with translated():
        seconds, microseconds = anyway.time()
        now_s = seconds + microseconds / 1e6
        inboxes = {lane: _inbox(anyway, keys.inbox(lane), now_s) for lane in Lane}
    alive = [
        {name: _NUMBERS.get(name, str)(value) for name, value in worker.items()} for worker in workers(client, keys)
    ]
    return InboxesState(inboxes, alive, now_s)


def _inbox(client: Any, key: str, now_s: float) -> InboxState:
    oldest = client.xrange(key, count=1)
    try:
        pending = client.xpending(key, GROUP)["pending"]
    except redis.ResponseError as error:
        if not str(error).startswith("NOGROUP"):
            raise
        pending = 0
    age_s = round(max(0.0, now_s - entry_order(oldest[0][0].decode())[0] / 1000), 1) if oldest else None
    return InboxState(client.xlen(key), pending, age_s)
