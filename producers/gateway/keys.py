"""The API keys as one gateway knows them: all in memory, looked for anew before they are old.

Making and revoking them is `worker.desk.keys`'; who may do what is `producers.gateway.admission`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import time
from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime

import structlog

from schemas.errors import DatabaseUnavailableError
from worker.desk.keys import PREFIX_CHARS, Keyholder, Keyholders, sha256_of

log = structlog.get_logger(__name__)

FRESH_S = 1.5
"""Age from which a look in the background brings the keys up to date."""
STALE_S = 4.0
"""Age from which a request waits for that look: a revoked key is refused within this time and a look's."""
OPEN_S = 0.1
"""Age from which a request waits for a look while no key exists: the first key must close the door."""
_OPEN_WAIT_S = 0.5
_RETRY_S = 0.5
_NOTE_USE_EVERY_S = 60.0
_NONE = Keyholders(any_made=True, holders=())


class KeyRing:
    """Every key that is not revoked, kept fresh while there are requests.

    `look`: reads them, given the ids of keys to note as used; runs in a thread. While the database is away, what
    is known counts until it is stale; then requests fail, since a key may have been revoked.
    """

    def __init__(
        self,
        look: Callable[[Collection[int]], Keyholders],
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        wait_s: float = 5.0,
    ) -> None:
        self._look = look
        self._now_s = now_s
        self._sleep = sleep
        self._wait_s = wait_s
        self._known = _NONE
        self._by_prefix: dict[str, list[Keyholder]] = {}
        self._looked_at_s = float("-inf")
        self._tried_at_s = float("-inf")
        self._looking: asyncio.Task[None] | None = None
        self._used: set[int] = set()
        self._noted_at_s: dict[int, float] = {}

    async def is_open(self) -> bool:
        """Whether no key was ever made, so that none is needed. Raises DatabaseUnavailableError."""
        await self._freshen()
        if not self._known.any_made and self._now_s() - self._looked_at_s > OPEN_S:
            # A database that is away closes no door that was open until what is known is stale.
            with contextlib.suppress(DatabaseUnavailableError, TimeoutError):
                async with asyncio.timeout(_OPEN_WAIT_S):
                    await self._look_now()
        return not self._known.any_made

    async def holder(self, secret: str) -> Keyholder | None:
        """Whose key this is; None if it is none, revoked or expired. Raises DatabaseUnavailableError."""
        await self._freshen()
        found = self._find(secret)
        if found is None:
            await self._look_since(self._now_s())
            found = self._find(secret)
        if found is not None:
            self._note_use(found.id)
        return found

    async def close(self) -> None:
        """Write down the last uses that are not yet."""
        if self._looking is not None:
            await asyncio.wait([self._looking], timeout=self._wait_s)
        if self._used:
            try:
                await self._look_now()
            except DatabaseUnavailableError as error:
                log.warning("key_use_not_noted", reason=str(error)[:200])

    def _find(self, secret: str) -> Keyholder | None:
        digest = sha256_of(secret)
        for holder in self._by_prefix.get(secret[:PREFIX_CHARS], ()):
            if hmac.compare_digest(holder.sha256, digest):
                return None if holder.expires_at and holder.expires_at <= datetime.now(UTC) else holder
        return None

    def _note_use(self, key_id: int) -> None:
        now_s = self._now_s()
        if now_s - self._noted_at_s.get(key_id, float("-inf")) >= _NOTE_USE_EVERY_S:
            self._noted_at_s[key_id] = now_s
            self._used.add(key_id)

    async def _freshen(self) -> None:
        age_s = self._now_s() - self._looked_at_s
        if age_s > STALE_S:
            await self._look_now()
        elif age_s > FRESH_S and self._now_s() - self._tried_at_s > _RETRY_S:
            self._start_looking()

    async def _look_since(self, asked_at_s: float) -> None:
        """Know what was true at `asked_at_s`: a key made before that must work, even if a look has just been.

        A flood of wrong keys shares these looks, which are `_RETRY_S` apart, and so does not reach the database.
        """
        pause_s = self._tried_at_s + _RETRY_S - asked_at_s
        if pause_s > 0:
            await self._sleep(pause_s)
        if self._looked_at_s < asked_at_s:
            await self._look_now()

    async def _look_now(self) -> None:
        """Wait for a look that is under way or begins now, but not for ever: a frozen Postgres closes no connection.

        A request that is cancelled does not end it for others.
        """
        try:
            async with asyncio.timeout(self._wait_s):
                await asyncio.shield(self._start_looking())
        except TimeoutError:
            raise DatabaseUnavailableError(f"no answer within {self._wait_s:g} s") from None

    def _start_looking(self) -> asyncio.Task[None]:
        if self._looking is None or self._looking.done():
            self._tried_at_s = self._now_s()
            self._looking = asyncio.create_task(self._look_once())
            self._looking.add_done_callback(_log_failure)
        return self._looking

    async def _look_once(self) -> None:
        begun_s = self._now_s()
        used, self._used = self._used, set()
        try:
            self._known = await asyncio.to_thread(self._look, used)
        except DatabaseUnavailableError:
            self._used |= used
            raise
        self._looked_at_s = begun_s
        by_prefix: dict[str, list[Keyholder]] = {}
        for holder in self._known.holders:
            by_prefix.setdefault(holder.prefix, []).append(holder)
        self._by_prefix = by_prefix


def _log_failure(look: asyncio.Task[None]) -> None:
    if not look.cancelled() and (error := look.exception()) is not None:
        log.warning("keys_not_read", reason=str(error)[:200])
