"""API keys: made, listed, revoked, and what a gateway must know to check one. Only hashes are kept."""

from __future__ import annotations

import enum
import hashlib
import secrets
import string
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Engine, Row, Text, cast, func, insert, or_, select, text, update

from schemas.database import translated
from schemas.errors import PermanentError
from schemas.tables import api_keys

KEY_PREFIX = "flk_"
PREFIX_CHARS = len(KEY_PREFIX) + 8
_SECRET_CHARS = 43  # of 62 kinds: 256 bits
_ALPHABET = string.ascii_letters + string.digits
_USED_EVERY_S = 60


class Scope(enum.StrEnum):
    """What a key may do."""

    PREDICT = "predict"
    ITEMS_WRITE = "items:write"
    ITEMS_READ = "items:read"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret. `rate_per_minute` None: as the settings say."""

    id: int
    name: str
    prefix: str
    scopes: frozenset[Scope]
    rate_per_minute: int | None
    created_at: datetime
    created_by: str
    last_used_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None

    def state(self, now: datetime) -> str:
        """`active`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"


@dataclass(frozen=True, slots=True)
class Keyholder:
    """What a gateway needs of a key that is not revoked."""

    id: int
    prefix: str
    sha256: bytes
    scopes: frozenset[str]
    rate_per_minute: int | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Keyholders:
    """Every key that is not revoked. `any_made`: whether a key was ever made, so that the API is closed."""

    any_made: bool
    holders: tuple[Keyholder, ...]


def create(
    engine: Engine,
    name: str,
    scopes: Iterable[Scope],
    *,
    expires_at: datetime | None = None,
    rate_per_minute: int | None = None,
    by: str = "",
) -> tuple[ApiKey, str]:
    """A new key and its secret, which cannot be shown again. Raises DatabaseUnavailableError."""
    secret = KEY_PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_CHARS))
    values = {
        "name": name,
        "prefix": secret[:PREFIX_CHARS],
        "key_sha256": sha256_of(secret).hex(),
        "scopes": sorted({Scope(scope).value for scope in scopes}),
        "expires_at": expires_at,
        "rate_per_minute": rate_per_minute,
        "created_by": by,
    }
    with translated(), engine.begin() as connection:
        row = connection.execute(insert(api_keys).values(**values).returning(*_SHOWN)).one()
    return _api_key(row), secret


def find(engine: Engine, *, with_ended: bool = True) -> list[ApiKey]:
    """Every key, oldest first; `with_ended` False leaves out the revoked and expired."""
    query = select(*_SHOWN).order_by(api_keys.c.id)
    if not with_ended:
        query = query.where(api_keys.c.revoked_at.is_(None), _not_expired())
    with translated(), engine.connect() as connection:
        return [_api_key(row) for row in connection.execute(query)]


def revoke(engine: Engine, which: str) -> ApiKey:
    """End a key for good; gateways follow within seconds.

    `which`: its id, or the beginning of the key as it is listed. Raises PermanentError if there is no such key or
    it is revoked already.
    """
    mine = api_keys.c.prefix == which if which.startswith(KEY_PREFIX) else cast(api_keys.c.id, Text) == which
    with translated(), engine.begin() as connection:
        found = connection.execute(select(*_SHOWN).where(mine).with_for_update()).all()
        if not found:
            raise PermanentError(f"there is no key {which!r}; `fenliu keys list` shows them")
        if len(found) > 1:
            raise PermanentError(f"{len(found)} keys begin with {which!r}; give the id that `fenliu keys list` shows")
        key = _api_key(found[0])
        if key.revoked_at is not None:
            raise PermanentError(f"key {which!r} was revoked at {key.revoked_at:%F %T}Z")
        row = connection.execute(
            update(api_keys).where(api_keys.c.id == key.id).values(revoked_at=func.now()).returning(*_SHOWN)
        ).one()
    return _api_key(row)


def holders(engine: Engine, used: Collection[int] = ()) -> Keyholders:
    """What a gateway checks keys against; first notes that the keys with the ids `used` were used just now.

    A key's last use is written at most once a minute, whatever the number of gateways.
    """
    with translated(), engine.begin() as connection:
        if used:
            last = api_keys.c.last_used_at
            stale = or_(last.is_(None), last < func.now() - text(f"interval '{_USED_EVERY_S} s'"))
            connection.execute(
                update(api_keys).where(api_keys.c.id.in_(sorted(used)), stale).values(last_used_at=func.now())
            )
        any_made = connection.execute(select(select(api_keys.c.id).exists())).scalar_one()
        rows = connection.execute(select(api_keys).where(api_keys.c.revoked_at.is_(None), _not_expired())).all()
    return Keyholders(
        any_made,
        tuple(
            Keyholder(
                row.id,
                row.prefix,
                bytes.fromhex(row.key_sha256),
                frozenset(row.scopes),
                row.rate_per_minute,
                row.expires_at,
            )
            for row in rows
        ),
    )


def sha256_of(secret: str) -> bytes:
    """The hash that is kept. A secret of 256 random bits needs no salt and no slow hash."""
    return hashlib.sha256(secret.encode()).digest()


_SHOWN = [column for column in api_keys.c if column.name != "key_sha256"]


def _not_expired() -> ColumnElement[bool]:
    return or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > func.now())


def _api_key(row: Row[tuple[object, ...]]) -> ApiKey:
    values = dict(row._mapping)
    return ApiKey(**(values | {"scopes": frozenset(Scope(scope) for scope in values["scopes"])}))
