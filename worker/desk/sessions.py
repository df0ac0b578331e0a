"""Sessions: who is logged in, by the token that the browser keeps. Only the token's SHA-256 is stored.

Checking passwords is `worker.desk.users`'; the cookie and the login page are `dashboard.access`'.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, Engine, delete, exists, func, insert, literal, select, update

from schemas.database import translated
from schemas.names import Role
from schemas.tables import sessions, users
from worker.desk.users import User

TOKEN_BYTES = 32
_LONGEST = timedelta(days=30)
_NOTE_EVERY = timedelta(minutes=1)
_PRUNED_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose session it is."""

    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class Standing:
    """What a token is worth. `any_user`: whether a user exists at all, so that one must log in."""

    holder: Holder | None
    any_user: bool


def begin(engine: Engine, user: User, idle: timedelta, *, instead_of: str = "") -> str | None:
    """Log a user in: a new token, which ends the session `instead_of`.

    The session ends when nobody has used it for `idle`, and after 30 days (or `idle`, if that is longer) anyhow. None
    if the user was disabled, removed or given another password since he was looked up. Deletes a share of the expired
    sessions on the way.
    """
    token = secrets.token_urlsafe(TOKEN_BYTES)
    still_so = (users.c.id == user.id) & users.c.enabled & (users.c.password_at == user.password_at)
    values = select(literal(sha256_of(token)), users.c.id, func.now() + idle).where(still_so).with_for_update()
    columns = [sessions.c.token_sha256, sessions.c.user_id, sessions.c.expires_at]
    expired = select(sessions.c.token_sha256).where(sessions.c.expires_at <= func.now()).limit(_PRUNED_AT_ONCE)
    with translated(), engine.begin() as connection:
        connection.execute(delete(sessions).where(_of(instead_of)))
        connection.execute(
            delete(sessions).where(sessions.c.token_sha256.in_(expired.with_for_update(skip_locked=True)))
        )
        if not connection.execute(insert(sessions).from_select(columns, values)).rowcount:
            return None
        connection.execute(update(users).where(users.c.id == user.id).values(last_login_at=func.now()))
    return token


def look_up(engine: Engine, token: str, idle: timedelta) -> Standing:
    """Whose session this is, noting at most once a minute that it is used. Raises DatabaseUnavailableError."""
    query = (
        select(users.c.name, users.c.role, (sessions.c.last_seen_at < func.now() - _between(idle)).label("is_old"))
        .join_from(sessions, users)
        .where(_of(token), sessions.c.expires_at > func.now(), users.c.enabled)
    )
    with translated(), engine.begin() as connection:
        row = connection.execute(query).one_or_none()
        if row is None:
            return Standing(None, bool(connection.execute(select(exists(select(users.c.id)))).scalar_one()))
        if row.is_old:
            end = func.least(func.now() + idle, sessions.c.created_at + max(_LONGEST, idle))
            connection.execute(update(sessions).where(_of(token)).values(last_seen_at=func.now(), expires_at=end))
    return Standing(Holder(row.name, Role(row.role)), any_user=True)


def end(engine: Engine, token: str) -> None:
    """Log out."""
    with translated(), engine.begin() as connection:
        connection.execute(delete(sessions).where(_of(token)))


def end_all(engine: Engine, name: str) -> int:
    """Log a user out everywhere; how many sessions that were."""
    mine = select(users.c.id).where(users.c.name == name)
    with translated(), engine.begin() as connection:
        return connection.execute(delete(sessions).where(sessions.c.user_id.in_(mine))).rowcount


def count(engine: Engine, name: str) -> int:
    """In how many browsers a user is logged in."""
    mine = select(users.c.id).where(users.c.name == name)
    live = select(func.count()).where(sessions.c.user_id.in_(mine), sessions.c.expires_at > func.now())
    with translated(), engine.connect() as connection:
        return int(connection.execute(live).scalar_one())


def sha256_of(token: str) -> str:
    """The hash that is kept, as hex digits. A token of 256 random bits needs no salt and no slow hash."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _of(token: str) -> ColumnElement[bool]:
    return sessions.c.token_sha256 == sha256_of(token)


def _between(idle: timedelta) -> timedelta:
    """Time between two notes that a session is used: short enough that it does not expire in between."""
    return min(_NOTE_EVERY, idle / 4)
