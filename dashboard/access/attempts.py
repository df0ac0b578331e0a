"""Failed logins of the last 15 minutes, counted by name and by address in Redis, which all gateways share.

Without Redis people still log in, uncounted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import redis
import structlog

from dashboard.access.origin import address_of
from worker.desk.users import key_of

if TYPE_CHECKING:
    from dashboard.visit import Visit

log = structlog.get_logger(__name__)

WINDOW_S = 15 * 60


@dataclass(frozen=True, slots=True)
class Attempts:
    """The counts that one login is held to; its methods block."""

    server: redis.Redis
    by_name: str
    by_address: str
    most: int

    def wait_s(self) -> int:
        """Seconds until another attempt is let in; 0: now."""
        try:
            pipe = self.server.pipeline(transaction=False)
            for key in self._keys:
                pipe.get(key)
                pipe.ttl(key)
            found = pipe.execute()
        except redis.RedisError as error:
            log.warning("logins_not_counted", reason=str(error)[:200])
            return 0
        counts = zip(found[::2], found[1::2], strict=True)
        return max((max(ttl, 1) for count, ttl in counts if int(count or 0) >= self.most), default=0)

    def note_failure(self) -> None:
        """Count one for the name and one for the address."""
        self._change([("incr", key) for key in self._keys])

    def forget_name(self) -> None:
        """The name has logged in, or has another password. The address keeps its count, as others may share it."""
        self._change([("delete", self.by_name)])

    @property
    def _keys(self) -> Sequence[str]:
        return self.by_name, self.by_address

    def _change(self, commands: Sequence[tuple[str, str]]) -> None:
        try:
            pipe = self.server.pipeline(transaction=True)
            for command, key in commands:
                if command == "incr":
                    pipe.incr(key)
                    pipe.expire(key, WINDOW_S, nx=True)
                else:
                    pipe.delete(key)
            pipe.execute()
        except redis.RedisError as error:
            log.warning("logins_not_counted", reason=str(error)[:200])


def attempts_of(visit: Visit, name: str) -> Attempts:
    """The counts for somebody who gives this name. Names are kept as hashes: some people type their password there."""
    site = visit.site
    digest = hashlib.sha256(key_of(name[:1_000]).encode()).hexdigest()[:32]
    keys = site.settings.keys
    return Attempts(
        site.server,
        keys.login_failures(f"name:{digest}"),
        keys.login_failures(f"address:{address_of(visit.request)}"),
        site.settings.login_attempts,
    )
