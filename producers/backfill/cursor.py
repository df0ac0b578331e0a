"""The one place where rows enter the inbox: a chunk's entries and the new position in one MULTI.

WATCH on the position makes it exact. Whoever adds a chunk has seen the position he expects and EXEC does nothing if
anybody has changed it since: a killed process loses nothing and doubles nothing, two processes cannot both add, and
after a lost connection the position tells whether the chunk is in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from typing import Any

import redis

from producers.backfill.holder import LEASE_MS, is_dead, my_name, shown
from producers.backfill.progress import Progress
from producers.redis_errors import translated
from schemas.errors import BackfillError, InboxFullError, InboxUnavailableError, LeaseTakenError
from schemas.messages import entry_order
from schemas.names import Keys, Lane

# Clients are Any: redis-py types neither answers in bytes nor pipelines.
_STATE, _HOLDER, _CANCELLED = "state", "holder", "cancelled"
_KEPT_AFTER_CANCEL_S = 86_400


class CancelledError(BackfillError):
    """Somebody has cancelled this backfill."""


class MovedError(InboxUnavailableError):
    """The position in Redis is not the one left there: Redis has lost the last moments, entries and position alike."""


class Cursor:
    """The position of one backfill, held by this process. `from_copy`: Redis knew nothing of it.

    Every method raises InboxUnavailableError while Redis is away, LeaseTakenError when another process holds the
    backfill, CancelledError when it has been cancelled, SetupError where Redis refuses this client.
    """

    def __init__(self, client: Any, keys: Keys, backfill_id: int) -> None:
        self._client = client
        self._id = backfill_id
        self._key = keys.backfill(backfill_id)
        self._lease = keys.backfill_lease(backfill_id)
        self._inbox = keys.inbox(Lane.BULK)
        self._name = my_name()
        self._stored = b""
        self.from_copy = False

    def take(self, copy: Progress) -> Progress:
        """Take the lease, and the progress in Redis; where there is none, go on from `copy`."""
        with _spoken():
            self._take_lease()
            with self._client.pipeline() as pipe:
                pipe.watch(self._key)
                state, cancelled = pipe.hmget(self._key, _STATE, _CANCELLED)
                if cancelled:
                    raise CancelledError(f"backfill {self._id} has been cancelled")
                self.from_copy = state is None and copy.chunk > 0
                progress = self._closed(copy if state is None else Progress.load(state))
                stored = progress.dump()
                pipe.multi()
                pipe.hset(self._key, mapping={_STATE: stored, _HOLDER: self._name})
                pipe.execute()
            self._stored = stored
            return progress

    def keep(self) -> None:
        """Keep the lease while waiting, and see whether the backfill is still ours and wanted."""
        with _spoken():
            self._check_holder()

    def keep_lease(self) -> None:
        """Keep the lease, if it is ours, whatever else goes on; safe beside every other method, in any thread.

        A lease that is wrongly kept does no harm: the holder beside the position is what counts.
        """
        with _spoken():
            holder = self._client.get(self._lease)
            if holder == self._name.encode():
                self._client.pexpire(self._lease, LEASE_MS)
            elif holder is None and self._client.hget(self._key, _HOLDER) == self._name.encode():
                self._client.set(self._lease, self._name, nx=True, px=LEASE_MS)

    def add(self, after: Progress, entries: Sequence[Mapping[str, str]], bound: int) -> Progress:
        """Add a chunk and move on to `after`, both or neither; progress with the ids of the chunk's entries.

        May be called again with the same chunk after any error. Raises InboxFullError without adding anything, and
        MovedError, after which the backfill has to be taken anew.
        """
        after = replace(after, open=True) if entries else after
        wanted = after.dump()
        with _spoken(), self._client.pipeline() as pipe:
            pipe.watch(self._key)
            state, holder, cancelled = pipe.hmget(self._key, _STATE, _HOLDER, _CANCELLED)
            self._check(state, holder, cancelled, wanted)
            if self._stored == wanted:
                return after
            if entries and (length := int(pipe.xlen(self._inbox))) + len(entries) > bound:
                pipe.unwatch()
                raise InboxFullError(f"the bulk inbox holds {length} entries and its bound is {bound}")
            pipe.multi()
            for fields in entries:
                pipe.execute_command("XADD", self._inbox, "*", *chain.from_iterable(fields.items()))
            pipe.hset(self._key, _STATE, wanted)
            pipe.set(self._lease, self._name, px=LEASE_MS)
            answers = pipe.execute()
            self._stored = wanted
        return _with_ids(after, answers[: len(entries)])

    def close(self, progress: Progress) -> Progress:
        """Progress with the bounds of its entry ids, also where the answer to its last chunk was lost."""
        if not progress.open:
            return progress
        with _spoken():
            return self._closed(progress)

    def is_beyond(self, entry_id: str) -> bool:
        """Whether every entry up to `entry_id` has been worked off: acknowledged entries are deleted."""
        with _spoken():
            self._check_holder()
            oldest = self._client.xrange(self._inbox, count=1)
            return not oldest or entry_order(oldest[0][0].decode()) > entry_order(entry_id)

    def backlog(self) -> int:
        """Entries in the bulk inbox, everybody's."""
        with _spoken():
            return int(self._client.xlen(self._inbox))

    def release(self, *, forget: bool) -> None:
        """Give the lease back; `forget`: the position is needed no more."""
        with _spoken(), self._client.pipeline() as pipe:
            pipe.watch(self._key, self._lease)
            held = pipe.get(self._lease) == self._name.encode()
            mine = pipe.hget(self._key, _HOLDER) == self._name.encode()
            pipe.multi()
            if held:
                pipe.delete(self._lease)
            if mine and forget:
                pipe.delete(self._key)
            pipe.execute()

    def _take_lease(self) -> None:
        for _ in range(2):
            if self._client.set(self._lease, self._name, nx=True, px=LEASE_MS):
                return
            holder = self._client.get(self._lease)
            if holder is None:
                continue
            if holder == self._name.encode():
                self._client.pexpire(self._lease, LEASE_MS)
                return
            if not is_dead(holder.decode()):
                break
            # Two that find the same dead holder: the position's own check lets only the later one work.
            self._client.set(self._lease, self._name, px=LEASE_MS)
            return
        raise self._taken(holder)

    def _check(self, state: bytes | None, holder: bytes | None, cancelled: bytes | None, wanted: bytes) -> None:
        if cancelled:
            raise CancelledError(f"backfill {self._id} has been cancelled")
        if holder != self._name.encode():
            if holder is None or state is None:
                raise self._emptied()
            raise self._taken(holder)
        if state == wanted:
            self._stored = wanted
        elif state != self._stored:
            raise MovedError(f"Redis has lost the last chunks of backfill {self._id}, which are added again")

    def _check_holder(self) -> None:
        holder, cancelled = self._client.hmget(self._key, _HOLDER, _CANCELLED)
        if cancelled:
            raise CancelledError(f"backfill {self._id} has been cancelled")
        if holder is None:
            raise self._emptied()
        if holder != self._name.encode():
            raise self._taken(holder)
        self._client.set(self._lease, self._name, px=LEASE_MS)

    def _closed(self, progress: Progress) -> Progress:
        """Bounds where the ids themselves are unknown: nothing before the beginning, nothing after now."""
        if progress.chunk and not progress.open:
            return progress
        newest = _newest(self._client, self._inbox)
        if not progress.chunk:
            ms, seq = entry_order(newest)
            return replace(progress, first=f"{ms}-{seq + 1}")
        return replace(progress, last=newest, open=False)

    def _emptied(self) -> BackfillError:
        return BackfillError(
            f"Redis has lost the position of backfill {self._id}; was it emptied? `fenliu backfill resume "
            f"{self._id}` goes on from the copy in the database"
        )

    def _taken(self, holder: bytes | None) -> LeaseTakenError:
        who = shown(holder.decode()) if holder else "another process"
        return LeaseTakenError(f"{who} works on backfill {self._id}; if it has died, try again in {LEASE_MS // 1000} s")


def forbid(client: Any, keys: Keys, backfill_id: int) -> Progress | None:
    """Let nobody add to this backfill any more, from this moment on; its progress, None if Redis has none.

    Raises InboxUnavailableError, SetupError.
    """
    with _spoken():
        key = keys.backfill(backfill_id)
        pipe = client.pipeline()
        pipe.hset(key, _CANCELLED, "1")
        pipe.hget(key, _STATE)
        pipe.expire(key, _KEPT_AFTER_CANCEL_S)
        state = pipe.execute()[1]
        if state is None:
            return None
        progress = Progress.load(state)
        return replace(progress, last=_newest(client, keys.inbox(Lane.BULK)), open=False) if progress.open else progress


def position(client: Any, keys: Keys, backfill_id: int) -> Progress | None:
    """The progress in Redis, newer than the table's; None if there is none. Raises InboxUnavailableError."""
    with _spoken():
        state = client.hget(keys.backfill(backfill_id), _STATE)
        return None if state is None else Progress.load(state)


def _newest(client: Any, inbox: str) -> str:
    """The id of the newest entry there ever was; `0-0` before the first."""
    try:
        newest: bytes = client.xinfo_stream(inbox)["last-generated-id"]
    except redis.ResponseError as error:
        if "no such key" not in str(error):
            raise
        return "0-0"
    return newest.decode()


def _with_ids(progress: Progress, answers: Sequence[Any]) -> Progress:
    if not answers:
        return progress
    wrong = next((answer for answer in answers if isinstance(answer, Exception)), None)
    if wrong is not None:
        raise translated(wrong)
    known_first = progress.first if progress.enqueued > len(answers) else None
    return replace(progress, first=known_first or answers[0].decode(), last=answers[-1].decode(), open=False)


@contextmanager
def _spoken() -> Iterator[None]:
    """Redis' errors as Fenliu's. A position that changed under us is looked at again, as if Redis had been away."""
    try:
        yield
    except redis.WatchError as error:
        raise InboxUnavailableError("the position was changed meanwhile, or the connection lost") from error
    except redis.RedisError as error:
        raise translated(error) from error
