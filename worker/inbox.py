"""The two inboxes in Redis: reading, claiming, refreshing, releasing and settling entries.

Every Redis command of the data path stands here. What to read next is `worker.collector`'s decision; what
entries mean is `schemas.messages`'.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

import redis
import structlog

from schemas.errors import InboxUnavailableError
from schemas.messages import RawEntry
from schemas.names import GROUP, Keys, Lane
from schemas.settings import Settings

T = TypeVar("T")
log = structlog.get_logger(__name__)

FREE_NOW_IDLE_MS: Final = 2**31
"""Idle time given to released entries: over every claim_idle_s, so that anyone may claim them at once."""

READ_BYTES: Final = 8 * 1024 * 1024
"""About what one read is meant to bring: many times a batch of usual entries, and a hundred of the largest allowed."""
_FIRST_BITE: Final = 32

_STOOD_STILL_S: Final = 2.0
"""A read that took so much longer than it was to wait: others may have claimed meanwhile what it brings."""

# Checking and deleting in one step: a consumer that reads in between would lose its pending entries.
_DROP_CONSUMERS = """
local dropped = 0
for _, fields in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local consumer = {}
  for i = 1, #fields, 2 do consumer[fields[i]] = fields[i + 1] end
  local mine = ARGV[3] ~= '' and consumer['name'] == ARGV[3]
  local stale = ARGV[3] == '' and consumer['idle'] >= tonumber(ARGV[2])
  if consumer['pending'] == 0 and (mine or stale) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer['name'])
    dropped = dropped + 1
  end
end
return dropped
"""


@dataclass(frozen=True, slots=True)
class Stale:
    """An entry that its consumer has left idle, and how often it has been delivered."""

    entry_id: str
    deliveries: int


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply and the stream it goes to."""

    stream: str
    fields: dict[str, str]


def connect(settings: Settings, *, read_block_s: float = 0.0) -> redis.Redis:
    """A client that fails within seconds instead of hanging, and leaves trying again to its caller.

    `read_block_s` is the longest blocking read it will be used for.
    """
    return redis.Redis.from_url(
        settings.redis_url,
        socket_timeout=read_block_s + 5,
        socket_connect_timeout=5,
        health_check_interval=30,
        retry=None,
        decode_responses=False,
    )


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turns every error of Redis into InboxUnavailableError: whatever it is, the entries stay where they are."""
    try:
        yield
    except redis.RedisError as error:
        raise InboxUnavailableError(f"Redis: {error}") from error


class Inbox:
    """Both inboxes, as one consumer of the group sees them.

    Every method raises InboxUnavailableError when Redis cannot be reached or refuses.
    """

    def __init__(self, client: redis.Redis, keys: Keys, consumer: str) -> None:
        self._client: Any = client  # redis-py types every answer as sync-or-async
        self._keys = keys
        self._lanes = {key.encode(): lane for lane, key in keys.inboxes.items()}
        self.consumer = consumer
        self._drop_script: Any = client.register_script(_DROP_CONSUMERS)
        self._bite = _FIRST_BITE

    def ensure_groups(self) -> None:
        """Create streams and groups that are not there, at id 0 so that nothing already added is skipped."""
        with translated():
            for lane in Lane:
                try:
                    self._client.xgroup_create(self._keys.inbox(lane), GROUP, id="0", mkstream=True)
                except redis.ResponseError as error:
                    if not str(error).startswith("BUSYGROUP"):
                        raise

    def waiting(self, lane: Lane) -> int | None:
        """How many entries of one inbox nobody has read; None where Redis does not know, since some were deleted."""
        groups = self._grouped(lambda: self._client.xinfo_groups(self._keys.inbox(lane)))
        return next((group.get("lag") for group in groups if group["name"] == GROUP.encode()), None)

    def read(self, lane: Lane, count: int) -> list[RawEntry]:
        """Up to `count` new entries of one inbox, without waiting."""
        return self._read({self._keys.inbox(lane): ">"}, count, None)

    def wait(self, count: int, wait_s: float) -> list[RawEntry]:
        """New entries of either inbox, up to `count` of each, waiting up to `wait_s` for the first."""
        return self._read(dict.fromkeys(self._keys.inboxes.values(), ">"), count, max(1, int(wait_s * 1000)))

    def stale(self, lane: Lane, idle_s: float, count: int) -> list[Stale]:
        """Pending entries of any consumer that have been idle for `idle_s`, oldest first."""
        key = self._keys.inbox(lane)
        found = self._grouped(lambda: self._client.xpending_range(key, GROUP, "-", "+", count, idle=int(idle_s * 1000)))
        return [Stale(row["message_id"].decode(), row["times_delivered"]) for row in found]

    def claim(self, lane: Lane, stale: Sequence[Stale], idle_s: float) -> list[RawEntry]:
        """Take over those of `stale` that are still idle, or only the first. Counts as a delivery of each."""
        deliveries = {entry.entry_id: entry.deliveries + 1 for entry in stale[: self._bite]}
        answer = self._grouped(
            lambda: self._client.xclaim(
                self._keys.inbox(lane), GROUP, self.consumer, int(idle_s * 1000), list(deliveries)
            )
        )
        return self._sized(
            [
                RawEntry(lane, entry_id.decode(), fields, deliveries[entry_id.decode()])
                for entry_id, fields in answer
                if entry_id is not None
            ]
        )

    def refresh(self, entries: Iterable[RawEntry]) -> set[tuple[Lane, str]]:
        """Say that these are being worked on: their idle time starts again; no delivery is counted.

        Which of them are still pending, by inbox and entry id.
        """
        return {
            (lane, entry_id.decode()) for lane, ids in _by_lane(entries) for entry_id in self._xclaim_justid(lane, ids)
        }

    def release(self, entries: Iterable[RawEntry]) -> None:
        """Give entries back: free at once for any consumer, and this delivery does not count."""
        for lane, ids, deliveries in _by_lane_and_deliveries(entries):
            self._xclaim_justid(lane, ids, idle=FREE_NOW_IDLE_MS, retrycount=max(0, deliveries - 1))

    def give_back(self, entries: Sequence[RawEntry]) -> None:
        """Release entries on the way out. What Redis, being away, does not hear of is claimed after claim_idle_s."""
        try:
            self.release(entries)
        except InboxUnavailableError as error:
            log.warning("release_failed", entries=len(entries), reason=str(error)[:200])

    def settle(self, entries: Sequence[RawEntry], replies: Sequence[Reply], settings: Settings) -> None:
        """Send the replies as well as can be, then acknowledge and delete the entries in one MULTI."""
        with translated():
            if replies:
                # Apart from the MULTI: a Redis out of memory refuses XADD, and must still take the XACK.
                pipe = self._client.pipeline(transaction=False)
                for reply in replies:
                    pipe.xadd(reply.stream, reply.fields, maxlen=settings.reply_max_entries, approximate=True)
                for stream in {reply.stream for reply in replies}:
                    pipe.expire(stream, settings.reply_expire_s)
                pipe.execute(raise_on_error=False)
            pipe = self._client.pipeline(transaction=True)
            for lane, ids in _by_lane(entries):
                pipe.xack(self._keys.inbox(lane), GROUP, *ids)
                pipe.xdel(self._keys.inbox(lane), *ids)
            pipe.execute()

    def drop_dead_consumers(self, idle_s: float) -> int:
        """Remove consumers that hold nothing and have not asked for anything for `idle_s`."""
        return self._drop(idle_s, "")

    def leave(self) -> None:
        """Remove this consumer if it holds nothing."""
        self._drop(0, self.consumer)

    def _drop(self, idle_s: float, consumer: str) -> int:
        arguments = [GROUP, int(idle_s * 1000), consumer]
        return sum(self._grouped(partial(self._drop_script, [key], arguments)) for key in self._keys.inboxes.values())

    def _read(self, streams: dict[str, str], count: int, block_ms: int | None) -> list[RawEntry]:
        count, begun_s = min(count, self._bite), time.monotonic()
        answer = self._grouped(
            lambda: self._client.xreadgroup(GROUP, self.consumer, streams, count=count, block=block_ms)
        )
        pairs = answer.items() if isinstance(answer, dict) else answer or ()
        read = self._sized(
            [
                RawEntry(self._lanes[key], entry_id.decode(), fields or {})
                for key, entries in pairs
                for entry_id, fields in _flat(entries)
            ]
        )
        if read and time.monotonic() - begun_s > (block_ms or 0) / 1000 + _STOOD_STILL_S:
            pending = self.refresh(read)
            read = [entry for entry in read if (entry.lane, entry.entry_id) in pending]
        return read

    def _sized(self, entries: list[RawEntry]) -> list[RawEntry]:
        """`entries`, after having learnt from them how many the next read may ask for.

        Redis counts entries and not bytes, and its writers may put 512 MB into a field. So reads begin small, grow
        while what comes is small, and shrink to what READ_BYTES hold.
        """
        size_bytes = sum(sum(map(len, entry.fields)) + sum(map(len, entry.fields.values())) for entry in entries)
        if size_bytes > READ_BYTES:
            self._bite = max(1, len(entries) * READ_BYTES // size_bytes)
        elif len(entries) >= self._bite and 2 * size_bytes <= READ_BYTES:
            self._bite *= 2
        return entries

    def _xclaim_justid(self, lane: Lane, ids: list[str], **options: int) -> list[bytes]:
        return self._grouped(
            lambda: self._client.xclaim(self._keys.inbox(lane), GROUP, self.consumer, 0, ids, justid=True, **options)
        )

    def _grouped(self, command: Callable[[], T]) -> T:
        """Run a command; when the group is gone (deleted by hand, Redis emptied), make it and run it again."""
        with translated():
            try:
                return command()
            except redis.ResponseError as error:
                if not str(error).startswith("NOGROUP") and "no such key" not in str(error).lower():
                    raise
                self.ensure_groups()
                return command()


def _flat(entries: Any) -> Any:
    """Entries of one stream; redis-py wraps them in one more list when it speaks RESP3."""
    return entries[0] if len(entries) == 1 and isinstance(entries[0], list) else entries


def _by_lane(entries: Iterable[RawEntry]) -> Iterator[tuple[Lane, list[str]]]:
    ids: dict[Lane, list[str]] = {}
    for entry in entries:
        ids.setdefault(entry.lane, []).append(entry.entry_id)
    yield from ids.items()


def _by_lane_and_deliveries(entries: Iterable[RawEntry]) -> Iterator[tuple[Lane, list[str], int]]:
    ids: dict[tuple[Lane, int], list[str]] = {}
    for entry in entries:
        ids.setdefault((entry.lane, entry.deliveries), []).append(entry.entry_id)
    for (lane, deliveries), found in ids.items():
        yield lane, found, deliveries
