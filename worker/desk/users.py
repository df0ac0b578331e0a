"""Users of the web pages: made, listed, changed, and known by name and password.

The command line and the page for administrators both use this. What keeps a user logged in is
`worker.desk.sessions`'; changing a password or disabling a user ends those, a role counts from the next request on.
"""

from __future__ import annotations

import enum
import unicodedata
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, Row, delete, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert

from schemas.database import translated
from schemas.errors import UserError
from schemas.names import Role
from schemas.tables import sessions, users
from worker.desk import passwords

MOST_NAME_CHARS = 64
LOCAL = "local"
"""Who works on the server itself before the first user exists; nobody may be called so."""


class Fault(enum.StrEnum):
    """Why a user cannot be made or changed. Pages have a text of their own for each."""

    NAME_EMPTY = "name_empty"
    NAME_LONG = "name_long"
    NAME_SIGNS = "name_signs"
    NAME_RESERVED = "name_reserved"
    NAME_TAKEN = "name_taken"
    NAME_UNKNOWN = "name_unknown"
    PASSWORD_SHORT = "password_short"  # noqa: S105 - a code
    PASSWORD_LONG = "password_long"  # noqa: S105 - a code
    PASSWORD_IS_NAME = "password_is_name"  # noqa: S105 - a code
    PASSWORD_SIGNS = "password_signs"  # noqa: S105 - a code
    PASSWORD_WRONG = "password_wrong"  # noqa: S105 - a code
    PASSWORDS_DIFFER = "passwords_differ"
    FIRST_ADMIN = "first_admin"
    LAST_ADMIN = "last_admin"


@dataclass(frozen=True, slots=True)
class User:
    """A user without the password."""

    id: int
    name: str
    role: Role
    enabled: bool
    created_at: datetime
    password_at: datetime
    last_login_at: datetime | None


def create(engine: Engine, name: str, password: str, role: Role) -> User:
    """A new user; the first one must be an admin. Raises UserError, DatabaseUnavailableError."""
    name = checked_name(name)
    check_password(password, name)
    password_hash = passwords.hash_of(password)
    with translated(), engine.begin() as connection:
        if role is not Role.ADMIN and not connection.execute(select(exists(select(users.c.id)))).scalar_one():
            raise UserError(Fault.FIRST_ADMIN, "role", "the first user must be an admin, who can make the others")
        # A name that somebody takes at this moment is waited for, and then taken.
        taken = connection.execute(select(users.c.name).where(users.c.name_key == key_of(name))).scalar()
        if taken is None:
            values = {"name": name, "name_key": key_of(name), "password_hash": password_hash, "role": role.value}
            new = insert(users).values(values).on_conflict_do_nothing(index_elements=[users.c.name_key])
            made = connection.execute(new.returning(*_SHOWN)).one_or_none()
            if made is not None:
                return _user(made)
    raise UserError(Fault.NAME_TAKEN, "name", f"there is a user {taken or name!r} already; names differ by letters")


def find(engine: Engine) -> list[User]:
    """Every user, by name."""
    with translated(), engine.connect() as connection:
        return [_user(row) for row in connection.execute(select(*_SHOWN).order_by(users.c.name_key))]


def any_made(engine: Engine) -> bool:
    """Whether a user was ever made, so that the pages are closed."""
    with translated(), engine.connect() as connection:
        return bool(connection.execute(select(exists(select(users.c.id)))).scalar_one())


def set_role(engine: Engine, name: str, role: Role) -> User:
    """Give a user another role, which counts from his next request on.

    Raises UserError if there is no such user, or nobody could administrate any more.
    """
    with translated(), engine.begin() as connection:
        user = _locked(connection, name, ends_admin=role is not Role.ADMIN, field="role")
        return _changed(connection, user, role=role.value)


def set_password(engine: Engine, name: str, password: str) -> User:
    """Give a user another password and end his sessions. Raises UserError."""
    check_password(password, name)
    password_hash = passwords.hash_of(password)
    with translated(), engine.begin() as connection:
        user = _locked(connection, name)
        _end_sessions(connection, user)
        return _changed(connection, user, password_hash=password_hash, password_at=func.clock_timestamp())


def set_enabled(engine: Engine, name: str, enabled: bool) -> User:
    """Let a user log in, or end his sessions and let him no more. Raises UserError."""
    with translated(), engine.begin() as connection:
        user = _locked(connection, name, ends_admin=not enabled)
        if not enabled:
            _end_sessions(connection, user)
        return _changed(connection, user, enabled=enabled)


def remove(engine: Engine, name: str) -> User:
    """Delete a user with his sessions; what he has done stays under his name. Raises UserError."""
    with translated(), engine.begin() as connection:
        user = _locked(connection, name, ends_admin=True)
        connection.execute(delete(users).where(users.c.id == user.id))
        return user


def known(engine: Engine, name: str, password: str) -> User | None:
    """The user with this name and password who may log in, or None; which of them is wrong, not even time tells.

    Raises DatabaseUnavailableError.
    """
    columns = [*_SHOWN, users.c.password_hash]
    with translated(), engine.connect() as connection:
        row = connection.execute(
            select(*columns).where(users.c.name_key == key_of(name), users.c.enabled)
        ).one_or_none()
    if not passwords.matches(password, row.password_hash if row else None) or row is None:
        return None
    if passwords.is_outdated(row.password_hash):
        renewed = passwords.hash_of(password)
        mine = (users.c.id == row.id) & (users.c.password_hash == row.password_hash)
        with translated(), engine.begin() as connection:
            connection.execute(update(users).where(mine).values(password_hash=renewed))
    return _user(row)


def checked_name(name: str) -> str:
    """A name as it is kept: in Unicode's form NFKC, without spaces around it. Raises UserError."""
    name = unicodedata.normalize("NFKC", name).strip()
    if not name:
        raise UserError(Fault.NAME_EMPTY, "name", "is empty")
    if len(name) > MOST_NAME_CHARS:
        raise UserError(Fault.NAME_LONG, "name", f"has more than {MOST_NAME_CHARS} characters")
    if any(unicodedata.category(sign)[0] == "C" or unicodedata.category(sign) in {"Zl", "Zp"} for sign in name):
        raise UserError(Fault.NAME_SIGNS, "name", "holds signs that cannot be seen, such as a tab; leave them out")
    if key_of(name) == LOCAL:
        raise UserError(Fault.NAME_RESERVED, "name", f"{LOCAL!r} stands for work on the server itself; take another")
    return name


def check_password(password: str, name: str) -> None:
    """Whether a password may be used. Raises UserError."""
    try:
        text = passwords.normalised(password[: passwords.MOST_CHARS + 1])
    except UnicodeEncodeError:
        raise UserError(Fault.PASSWORD_SIGNS, "password", "is not valid UTF-8") from None
    if len(password) > passwords.MOST_CHARS:
        raise UserError(Fault.PASSWORD_LONG, "password", f"has more than {passwords.MOST_CHARS} characters")
    if key_of(text) == key_of(name):
        raise UserError(Fault.PASSWORD_IS_NAME, "password", "is the user's name; take another")
    if len(text) < passwords.FEWEST_CHARS:
        raise UserError(Fault.PASSWORD_SHORT, "password", f"has fewer than {passwords.FEWEST_CHARS} characters")


def key_of(name: str) -> str:
    """What two names have in common that count as one: `Ａnna` and `anna` do."""
    folded = unicodedata.normalize("NFKC", name).strip().casefold()
    return unicodedata.normalize("NFKC", folded).encode("utf-8", "replace").decode().replace("\0", "?")


_SHOWN = [column for column in users.c if column.name not in {"name_key", "password_hash"}]


def _locked(connection: Connection, name: str, *, ends_admin: bool = False, field: str = "name") -> User:
    """The user, for a change. Admins are locked together, so that two changes at once do not remove the last two."""
    admins = select(users.c.id).where(users.c.role == Role.ADMIN.value, users.c.enabled).order_by(users.c.id)
    able = connection.execute(admins.with_for_update()).scalars().all() if ends_admin else []
    row = connection.execute(select(*_SHOWN).where(users.c.name_key == key_of(name)).with_for_update()).one_or_none()
    if row is None:
        raise UserError(Fault.NAME_UNKNOWN, "name", f"there is no user {name!r}; `fenliu users list` shows them")
    if able == [row.id]:
        raise UserError(
            Fault.LAST_ADMIN, field, f"{row.name!r} is the last admin who can log in; make another one first"
        )
    return _user(row)


def _changed(connection: Connection, user: User, **values: object) -> User:
    return _user(
        connection.execute(update(users).where(users.c.id == user.id).values(**values).returning(*_SHOWN)).one()
    )


def _end_sessions(connection: Connection, user: User) -> None:
    connection.execute(delete(sessions).where(sessions.c.user_id == user.id))


def _user(row: Row[tuple[object, ...]]) -> User:
    values = {column.name: row._mapping[column.name] for column in _SHOWN}
    return User(**(values | {"role": Role(values["role"])}))
