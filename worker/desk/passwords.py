"""Passwords: the rule they follow, and their hashes (argon2id, RFC 9106). Whose they are is `worker.desk.users`'."""

from __future__ import annotations

import unicodedata
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

FEWEST_CHARS = 10
MOST_CHARS = 256


def normalised(password: str) -> str:
    """The password whatever the keyboard it is typed on: full-width letters of an input method count as plain ones.

    Raises UnicodeEncodeError if there is half of a surrogate pair in it.
    """
    text = unicodedata.normalize("NFKC", password)
    text.encode()
    return text


def hash_of(password: str) -> str:
    """Its hash with salt and costs. Takes some 50 ms and 64 MiB, as it should."""
    return _hasher().hash(normalised(password))


def matches(password: str, password_hash: str | None) -> bool:
    """Whether this is the password. Without a hash it is not, and that takes as long to say."""
    hasher = _hasher()
    nobodys = _nobodys(hasher)  # also where it is not needed: the first login must not tell by its time
    wanted = password_hash or nobodys
    try:
        text = normalised(password[: MOST_CHARS + 1])
        return hasher.verify(wanted, text) and password_hash is not None and len(password) <= MOST_CHARS
    except (VerificationError, InvalidHashError, UnicodeEncodeError):
        return False


def is_outdated(password_hash: str) -> bool:
    """Whether it was made with other costs than are used now."""
    return _hasher().check_needs_rehash(password_hash)


@cache
def _hasher() -> PasswordHasher:
    return PasswordHasher()


@cache
def _nobodys(hasher: PasswordHasher) -> str:
    """A hash to compare with where there is none."""
    return hasher.hash("nobody has this password")
