"""How often a caller may ask: a rate of requests a minute, kept in Redis so that all gateways share it."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, NamedTuple

import redis
import redis.asyncio

from schemas.errors import InboxUnavailableError
from schemas.names import Keys

# GCRA (ITU-T I.371): one time per caller, that at which a bucket of `burst` would be full again. ARGV: time between
# two requests in ms, requests that may come at once. Gives: allowed, requests left, ms until one is allowed, ms until
# the bucket is full.
_GCRA = """
local interval_ms, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local clock = redis.call('TIME')
local now_ms = clock[1] * 1000 + clock[2] / 1000
local full_ms = math.max(tonumber(redis.call('GET', KEYS[1]) or now_ms), now_ms)
local allowed_ms = full_ms + interval_ms - burst * interval_ms
if allowed_ms > now_ms + 0.001 then
  return {0, 0, math.ceil(allowed_ms - now_ms), math.ceil(full_ms - now_ms)}
end
full_ms = full_ms + interval_ms
redis.call('SET', KEYS[1], string.format('%.3f', full_ms), 'PX', math.ceil(full_ms - now_ms) + 1)
local left = math.floor((burst * interval_ms - (full_ms - now_ms)) / interval_ms + 0.001)
return {1, left, 0, math.ceil(full_ms - now_ms)}
"""


class Standing(NamedTuple):
    """Where a caller stands after a request."""

    allowed: bool
    limit: int
    left: int
    wait_s: int
    full_s: int

    def headers(self) -> list[tuple[bytes, bytes]]:
        """RateLimit headers: the limit a minute, requests left, seconds until all of them are back."""
        return [
            (b"ratelimit-limit", b"%d" % self.limit),
            (b"ratelimit-remaining", b"%d" % self.left),
            (b"ratelimit-reset", b"%d" % self.full_s),
        ]


class Rates:
    """The rates of all callers."""

    def __init__(self, server: redis.asyncio.Redis, keys: Keys) -> None:
        self._keys = keys
        self._gcra: Any = server.register_script(_GCRA)

    async def take(self, caller: str, per_minute: int) -> Standing:
        """Take one request of `per_minute` (at least 1), all of which may come at once and are refilled evenly.

        Raises InboxUnavailableError.
        """
        try:
            answer: Awaitable[Any] = self._gcra(keys=[self._keys.rate(caller)], args=[60_000 / per_minute, per_minute])
            allowed, left, wait_ms, full_ms = await answer
        except (redis.RedisError, OSError) as error:
            raise InboxUnavailableError(f"Redis does not answer: {error}") from error
        return Standing(bool(allowed), per_minute, left, -(-wait_ms // 1000), -(-full_ms // 1000))
