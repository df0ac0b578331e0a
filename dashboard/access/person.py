"""Somebody who uses the pages."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.names import Role


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks. `is_local`: nobody has logged in, since no user exists yet and the request comes from this machine."""

    name: str
    role: Role
    is_local: bool = False
