"""Route sets in Postgres: applying a new version, reading one, and what two versions differ in.

A version is never changed. Which one a worker routes by is `worker.router`'s; files are `schemas.routes`'.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, select, text, update

from schemas.database import translated
from schemas.labels import Label, LabelSet
from schemas.routes import RouteSet, Rule
from schemas.tables import route_sets, routes


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """One version of a route set as it was applied."""

    route_set: RouteSet
    version: int
    created_at: datetime
    created_by: str
    current: bool


@dataclass(frozen=True, slots=True)
class RouteSetSummary:
    """One version in a list."""

    name: str
    version: int
    current: bool
    teams: int
    created_at: datetime
    created_by: str


class ChangeKind(enum.StrEnum):
    """What happened to a team, or to the set as a whole (`reordered`, `rules`)."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    REORDERED = "reordered"
    RULES = "rules"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two versions. `fields`: field → (before, after), for a changed team, and for the rules."""

    kind: ChangeKind
    team: str
    fields: dict[str, tuple[Any, Any]]


@dataclass(frozen=True, slots=True)
class Applied:
    """The version that is current now. No changes: it was so already, and no version was made."""

    name: str
    version: int
    changes: tuple[Change, ...]


def apply(engine: Engine, route_set: RouteSet, by: str) -> Applied:
    """Make `route_set` the current version of its name, unless it is already.

    Workers route by it within `routes_poll_s`. Applying from several places at once is safe: they queue.
    Raises DatabaseUnavailableError.
    """
    return revise(engine, route_set.name, lambda _: route_set, by)


def revise(engine: Engine, name: str, make: Callable[[RouteSet | None], RouteSet], by: str) -> Applied:
    """Make what `make` makes of the current version, None if there is none, the current version.

    Nobody else applies anything meanwhile. What `make` raises is raised, and nothing is changed.
    """
    with translated(), engine.begin() as connection:
        # Two first versions of one name could not see each other; readers are not held up.
        connection.execute(text("LOCK TABLE route_sets IN SHARE ROW EXCLUSIVE MODE"))
        current = read_in(connection, name)
        route_set = make(current.route_set if current else None)
        changes = compare(current.route_set if current else None, route_set)
        if current and not changes:
            return Applied(name, current.version, ())
        newest = connection.scalar(select(func.max(route_sets.c.version)).where(route_sets.c.name == name))
        _insert(connection, route_set, (newest or 0) + 1, by)
    return Applied(name, (newest or 0) + 1, changes)


def _insert(connection: Connection, route_set: RouteSet, version: int, by: str) -> None:
    connection.execute(update(route_sets).where(route_sets.c.name == route_set.name).values(current=False))
    connection.execute(
        insert(route_sets).values(
            name=route_set.name,
            version=version,
            current=True,
            created_by=by,
            rules=[rule.as_written() for rule in route_set.rules],
        )
    )
    connection.execute(
        insert(routes),
        [
            {
                "route_set": route_set.name,
                "version": version,
                "team": label.name,
                "position": position,
                "description": label.description,
                "examples": list(label.examples),
                "threshold": label.threshold,
                "enabled": label.name not in route_set.disabled,
                "by_model": label.name not in route_set.unscored,
            }
            for position, label in enumerate(route_set.labels.labels)
        ],
    )


def read(engine: Engine, name: str, version: int | None = None) -> StoredVersion | None:
    """A version of a route set, the current one by default; None if there is none.

    Raises DatabaseUnavailableError, and ConditionError for rules that this release cannot read.
    """
    with translated(), engine.connect() as connection:
        return read_in(connection, name, version)


def current_version(engine: Engine, name: str) -> int | None:
    """The number of the current version, or None. Raises DatabaseUnavailableError."""
    with translated(), engine.connect() as connection:
        return connection.scalar(select(route_sets.c.version).where(route_sets.c.name == name, route_sets.c.current))


def list_sets(engine: Engine) -> list[RouteSetSummary]:
    """The current version of every route set, by name. Raises DatabaseUnavailableError."""
    return _summaries(engine, route_sets.c.current)


def versions(engine: Engine, name: str) -> list[RouteSetSummary]:
    """Every version of one route set, newest first. Raises DatabaseUnavailableError."""
    return _summaries(engine, route_sets.c.name == name)


def compare(old: RouteSet | None, new: RouteSet) -> tuple[Change, ...]:
    """What makes `new` differ from `old`: team by team, then the rules, however their conditions are spaced."""
    before = _by_team(old) if old else {}
    after = _by_team(new)
    changes = [Change(ChangeKind.ADDED, team, {}) for team in after if team not in before]
    changes += [Change(ChangeKind.REMOVED, team, {}) for team in before if team not in after]
    for team in after:
        if team in before and before[team] != after[team]:
            fields = {
                name: (before[team][name], after[team][name])
                for name in after[team]
                if before[team][name] != after[team][name]
            }
            changes.append(Change(ChangeKind.CHANGED, team, fields))
    if not changes and list(before) != list(after):
        changes.append(Change(ChangeKind.REORDERED, "", {}))
    rules = old.rules if old else ()
    if rules != new.rules:
        written = tuple(tuple(rule.as_written() for rule in each) for each in (rules, new.rules))
        changes.append(Change(ChangeKind.RULES, "", {"rules": (written[0], written[1])}))
    return tuple(changes)


def _by_team(route_set: RouteSet) -> dict[str, dict[str, Any]]:
    return {
        label.name: {
            "description": label.description,
            "examples": label.examples,
            "threshold": label.threshold,
            "enabled": label.name not in route_set.disabled,
            "by_model": label.name not in route_set.unscored,
        }
        for label in route_set.labels.labels
    }


def read_in(connection: Connection, name: str, version: int | None = None) -> StoredVersion | None:
    """`read` in a transaction of the caller's."""
    which = route_sets.c.current if version is None else route_sets.c.version == version
    found = connection.execute(select(route_sets).where(route_sets.c.name == name, which)).one_or_none()
    if found is None:
        return None
    teams = connection.execute(
        select(routes).where(routes.c.route_set == name, routes.c.version == found.version).order_by(routes.c.position)
    ).all()
    labels = LabelSet(tuple(Label(team.team, team.description, tuple(team.examples), team.threshold) for team in teams))
    disabled = frozenset(team.team for team in teams if not team.enabled)
    unscored = frozenset(team.team for team in teams if not team.by_model)
    rules = tuple(Rule.of(rule["when"], rule["team"]) for rule in found.rules)
    route_set = RouteSet(name, labels, disabled, rules, unscored)
    return StoredVersion(route_set, found.version, found.created_at, found.created_by, found.current)


def _summaries(engine: Engine, which: Any) -> list[RouteSetSummary]:
    query = (
        select(route_sets, func.count(routes.c.team).label("teams"))
        .outerjoin(routes, (routes.c.route_set == route_sets.c.name) & (routes.c.version == route_sets.c.version))
        .where(which)
        .group_by(route_sets.c.name, route_sets.c.version)
        .order_by(route_sets.c.name, route_sets.c.version.desc())
    )
    with translated(), engine.connect() as connection:
        return [
            RouteSetSummary(row.name, row.version, row.current, row.teams, row.created_at, row.created_by)
            for row in connection.execute(query)
        ]
