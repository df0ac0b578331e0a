"""Cancelling: nothing more is enqueued, and what no worker has taken yet leaves the bulk inbox."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import redis
from sqlalchemy import Engine

from producers.backfill import cursor, ledger
from producers.backfill.progress import Progress
from producers.redis_errors import translated
from schemas.errors import BackfillError
from schemas.messages import entry_order
from schemas.names import DEFAULT_SOURCE, GROUP, BackfillState, Keys, Lane

_CHUNK_ENTRIES = 500


@dataclass(frozen=True, slots=True)
class Cancelled:
    """`removed` entries were taken out of the inbox; the rest of the `enqueued` had been taken by workers.

    None is taken out where other backfills, `shared_with`, of the same source have enqueued at the same time: an
    entry does not say which one it is of.
    """

    enqueued: int
    removed: int
    shared_with: tuple[int, ...] = ()


def cancel(engine: Engine, client: Any, keys: Keys, backfill_id: int) -> Cancelled:
    """Cancel a backfill that is not over; may be repeated. A runner sees it before it adds another chunk.

    Raises BackfillError, InboxUnavailableError, DatabaseUnavailableError.
    """
    record = ledger.get(engine, backfill_id)
    if record.state is BackfillState.DONE:
        raise BackfillError(f"backfill {backfill_id} is done; its results are in the tables")
    progress = cursor.forbid(client, keys, backfill_id) or record.progress
    ledger.save(engine, backfill_id, progress, state=BackfillState.CANCELLED)
    if not (progress.enqueued and progress.last):
        return Cancelled(progress.enqueued, 0)
    others = [other for other in ledger.unfinished(engine) if other.id != backfill_id]
    shared_with = tuple(
        other.id for other in others if progress.overlaps(cursor.position(client, keys, other.id) or other.progress)
    )
    if shared_with:
        return Cancelled(progress.enqueued, 0, shared_with)
    try:
        return Cancelled(progress.enqueued, _remove(client, keys, progress))
    except redis.RedisError as error:
        raise translated(error) from error


def _remove(client: Any, keys: Keys, progress: Progress) -> int:
    """Take entries out, oldest first, that no worker has been given; how many."""
    inbox = keys.inbox(Lane.BULK)
    sources = None if progress.sources is None else {source.encode() for source in progress.sources}
    at, removed = progress.first or "0-0", 0
    while True:
        at = max(at, _after(_delivered(_groups(client, inbox))), key=entry_order)
        page = client.xrange(inbox, min=at, max=progress.last, count=_CHUNK_ENTRIES)
        if not page:
            return removed
        mine = [name for name, fields in page if sources is None or fields.get(b"source", _DEFAULT) in sources]
        if mine:
            # Both in one: what a worker was given between reading the page and now is not counted.
            pipe = client.pipeline()
            pipe.xinfo_groups(inbox)
            pipe.xdel(inbox, *mine)
            groups, _ = pipe.execute()
            delivered = entry_order(_delivered(groups))
            removed += sum(entry_order(name.decode()) > delivered for name in mine)
        at = _after(page[-1][0].decode())


_DEFAULT = DEFAULT_SOURCE.encode()


def _groups(client: Any, inbox: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.xinfo_groups(inbox) if client.exists(inbox) else []
    return found


def _delivered(groups: list[dict[str, Any]]) -> str:
    """The newest entry that any worker was given."""
    for group in groups:
        if group["name"] == GROUP.encode():
            newest: bytes = group["last-delivered-id"]
            return newest.decode()
    return "0-0"


def _after(entry_id: str) -> str:
    ms, seq = entry_order(entry_id)
    return f"{ms}-{seq + 1}"
