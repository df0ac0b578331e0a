"""Entries of one item in Redis: taken out of the inboxes and the teams' streams, when the item is to be erased.

The rows are `worker.desk.items`'.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import redis

from schemas.errors import EntryHeldError
from schemas.names import DEFAULT_SOURCE, GROUP, Keys
from worker.inbox import translated

_PAGE_ENTRIES = 1_000
_LOOK_S = 0.1
_CLOCKS_S = 60.0  # by which the clocks of Postgres and Redis may differ

# In one step, since a worker may read or claim it in between. An entry is taken out if nobody holds it, or if its
# holder has no heartbeat any more and has not touched it for a while. Answers 1: taken out, 0: held, -1: gone.
_TAKE_OUT = """
local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1)
if not pending.err and #pending > 0 then
  local holder, idle_ms = pending[1][2], pending[1][3]
  if redis.call('EXISTS', ARGV[3] .. holder) == 1 or idle_ms < tonumber(ARGV[4]) then return 0 end
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
end
if redis.call('XDEL', KEYS[1], ARGV[2]) == 1 then return 1 end
return -1
"""


def take_out(
    server: redis.Redis, keys: Keys, source: str, item_id: str, *, wait_s: float, dead_after_s: float,
    on_wait: Callable[[int], None] = lambda _: None,
) -> int:  # fmt: skip
    """Delete an item's entries from both inboxes; how many.

    One that a living worker holds is waited for until the worker has settled it, which is after it has written its
    rows. One of a worker that has no heartbeat and has left it idle for `dead_after_s` is deleted. `on_wait` is
    given how many are waited for, once. Raises EntryHeldError after `wait_s` and InboxUnavailableError.
    """
    script: Any = server.register_script(_TAKE_OUT)
    idle_ms = int(dead_after_s * 1000)
    until = time.monotonic() + wait_s
    taken_out = 0
    with translated():
        left = [
            (stream, entry_id) for stream in keys.inboxes.values() for entry_id in _ids(server, stream, source, item_id)
        ]
        waited = False
        while left:
            answers = [
                int(script(keys=[stream], args=[GROUP, entry_id, keys.worker_prefix, idle_ms]))
                for stream, entry_id in left
            ]
            taken_out += answers.count(1)
            left = [each for each, answer in zip(left, answers, strict=True) if answer == 0]
            if left and not waited:
                on_wait(len(left))
                waited = True
            if left and time.monotonic() > until:
                raise EntryHeldError(
                    f"a worker has not settled {len(left)} entries of it within {wait_s:g} s; no rows were deleted. "
                    "Run it again; `fenliu status` shows whether the workers get on"
                )
            if left:
                time.sleep(_LOOK_S)
    return taken_out


def forget_announcements(server: redis.Redis, keys: Keys, source: str, item_id: str, teams: Mapping[str, float]) -> int:
    """Delete what teams' streams still say of an item; how many entries.

    `teams`: each team that was told, and when it was first, in seconds of the epoch: entries are not older.
    Raises InboxUnavailableError.
    """
    anyway: Any = server  # redis-py types every answer as sync-or-async
    forgotten = 0
    with translated():
        for team, since_s in teams.items():
            stream = keys.team(team)
            ids = [
                entry_id
                for entry_id, fields in entries(server, stream, f"{max(0, int((since_s - _CLOCKS_S) * 1000))}")
                if _is_of(fields, b"item_id", source, item_id)
            ]
            if ids:
                forgotten += anyway.xdel(stream, *ids)
    return forgotten


def entries(server: Any, stream: str, start: str = "-") -> Iterator[tuple[bytes, Mapping[bytes, bytes]]]:
    """Every entry of a stream up to the newest one of now, in pages. `server` answers in bytes."""
    newest = server.xrevrange(stream, count=1)
    page_start: str | bytes = start
    while newest and (page := server.xrange(stream, min=page_start, max=newest[0][0], count=_PAGE_ENTRIES)):
        yield from page
        page_start = b"(" + page[-1][0]


def _ids(server: Any, stream: str, source: str, item_id: str) -> Sequence[bytes]:
    return [entry_id for entry_id, fields in entries(server, stream) if _is_of(fields, b"id", source, item_id)]


def _is_of(fields: Mapping[bytes, bytes], id_field: bytes, source: str, item_id: str) -> bool:
    found = fields.get(id_field), fields.get(b"source", DEFAULT_SOURCE.encode())
    return found == (item_id.encode(), source.encode())
