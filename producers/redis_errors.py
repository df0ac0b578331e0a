"""What the errors of Redis mean for somebody who enqueues."""

from __future__ import annotations

import redis

from schemas.errors import FenliuError, InboxUnavailableError, SetupError

_REFUSED = (redis.AuthenticationError, redis.exceptions.AuthorizationError, redis.exceptions.NoPermissionError)
_AWAY = (
    redis.ConnectionError, redis.TimeoutError, redis.exceptions.OutOfMemoryError, redis.ReadOnlyError,
    redis.exceptions.ClusterError, redis.exceptions.TryAgainError,
)  # fmt: skip
_AWAY_CODES = ("MISCONF", "NOREPLICAS")


def translated(error: Exception) -> FenliuError:
    """InboxUnavailableError where waiting can help, else SetupError."""
    if isinstance(error, _REFUSED):
        return SetupError(f"Redis refuses this client: {error}; check the user and password in the URL")
    if isinstance(error, _AWAY) or str(error).startswith(_AWAY_CODES):
        return InboxUnavailableError(f"Redis takes no entries now: {error}")
    return SetupError(f"Redis refuses the entry: {error}; is the inbox's key used by something else?")


def wrong_url(error: ValueError) -> SetupError:
    """The error of a Redis URL that cannot be read."""
    return SetupError(f"the Redis URL is wrong: {error}")
