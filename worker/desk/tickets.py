"""What people do to tickets: give one to a team, give it back to the model, make it an example of a team.

Each takes the lock of the item's row first, as the sink does, and writes the assignment, its history and what teams
are told in one transaction. Looking at tickets is `worker.desk.ticket_views`'.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Table, func, insert, select, update

from schemas.database import translated
from schemas.errors import LabelsError, PermanentError
from schemas.labels import MAX_EXAMPLE_CHARS, MAX_EXAMPLES, MAX_LABEL_CHARS, Label, LabelSet
from schemas.names import DEFAULT_ROUTE_SET, TRIAGE_TEAM, Announcement, AssignmentStatus, Kind, Task
from schemas.routes import RouteSet
from schemas.settings import Settings
from schemas.tables import assignment_events, assignments, items, outbox, predictions
from worker import routes
from worker.outcome import Assignment
from worker.router import decided
from worker.routes import Applied

MAX_WHO_CHARS = 200
MAX_WHY_CHARS = 2_000
_Found = dict[str, Any]
_ENTRY = ("entry_id", "entry_ms", "entry_seq", "updated_at", "item_created_at")
PLACE = ("team", "status", "score", "route_set", "route_set_version")
"""The columns of an assignment that say where a ticket is and who decided so."""


@dataclass(frozen=True, slots=True)
class Moved:
    """Where a ticket is now. `from_team` is None if it had no team; the same team: nobody was told anything."""

    source: str
    item_id: str
    team: str
    status: AssignmentStatus
    from_team: str | None


def assign(engine: Engine, source: str, item_id: str, team: str, *, by: str, why: str, any_team: bool = False) -> Moved:
    """Give a ticket to `team`, or to triage; no later result of a model takes it away.

    To the team that it has: that team is confirmed. `any_team`: also to one that the current version of the ticket's
    route set does not have, or has disabled. Raises PermanentError if there is no such ticket or team, or if `by` or
    `why` is empty or too long, and DatabaseUnavailableError.
    """
    with translated(), engine.begin() as connection:
        return assign_in(connection, source, item_id, team, by=by, why=why, any_team=any_team)


def assign_in(
    connection: Connection, source: str, item_id: str, team: str, *, by: str, why: str, any_team: bool = False
) -> Moved:
    """`assign` in a transaction of the caller's, which then holds the lock of the item's row."""
    team = _said(team, "team", MAX_LABEL_CHARS)
    by, why = _said(by, "by", MAX_WHO_CHARS), _said(why, "why", MAX_WHY_CHARS)
    item, before, routing = _locked(connection, source, item_id)
    name = (before and before["route_set"]) or (routing and routing["route_set"]) or DEFAULT_ROUTE_SET
    if not any_team:
        _check_team(connection, team, name)
    entry = before or routing or {"item_created_at": item["created_at"], **item}
    after = {
        **{column: entry[column] for column in _ENTRY},
        "team": team,
        "score": None,
        "status": AssignmentStatus.OVERRIDDEN,
        "route_set": name,
        "route_set_version": before["route_set_version"] if before else None,
    }
    return _move(connection, (source, item_id), before, after, by=by, why=why)


def put_back_in(
    connection: Connection, source: str, item_id: str, assignment: Mapping[str, Any], *, by: str, why: str
) -> Moved:
    """Give a ticket the assignment that it had: team, status, score, route_set and route_set_version.

    Where a model had decided, its later results decide again. In a transaction of the caller's. Raises
    PermanentError if there is no such ticket or it has no team.
    """
    _, before, _ = _locked(connection, source, item_id)
    if before is None:
        raise PermanentError(f"ticket {source}/{item_id} has no team")
    after = {name: before[name] for name in _ENTRY} | {name: assignment[name] for name in PLACE}
    after["status"] = AssignmentStatus(after["status"])
    return _move(connection, (source, item_id), before, after, by=by, why=why)


def release(engine: Engine, source: str, item_id: str, settings: Settings, *, by: str, why: str = "") -> Moved:
    """Give a ticket back to the model: its newest result decides, and later ones do.

    A ticket that no person has assigned stays as it is. The thresholds are those of `settings` and of the version
    that the result is of. Raises PermanentError if there is no such ticket or no result among a route set, and
    DatabaseUnavailableError.
    """
    by = _said(by, "by", MAX_WHO_CHARS)
    why = _said(why or "given back to the model", "why", MAX_WHY_CHARS)
    with translated(), engine.begin() as connection:
        _, before, routing = _locked(connection, source, item_id)
        if before is None:
            raise PermanentError(f"ticket {source}/{item_id} has no team yet")
        if before["status"] != AssignmentStatus.OVERRIDDEN:
            return Moved(source, item_id, before["team"], AssignmentStatus(before["status"]), before["team"])
        if routing is None or routing["route_set_version"] is None:
            raise PermanentError(f"no model has a result for ticket {source}/{item_id} to give it back to")
        decision = _decision(connection, routing, settings)
        after = {
            **{column: routing[column] for column in _ENTRY},
            "team": decision.team,
            "score": decision.score,
            "status": decision.status,
            "route_set": routing["route_set"],
            "route_set_version": routing["route_set_version"],
        }
        return _move(connection, (source, item_id), before, after, by=by, why=why)


def add_example(engine: Engine, source: str, item_id: str, team: str, *, by: str) -> Applied:
    """Add a ticket's text to the examples of a team: a new version of the ticket's route set, current at once.

    The text is copied, and stays when the item is deleted. No change if it is an example of that team already.
    Raises PermanentError if there is no such ticket, LabelsError if the set has no such team or the team no room,
    and DatabaseUnavailableError.
    """
    name, example = _example(engine, source, item_id)
    by = _said(by, "by", MAX_WHO_CHARS)
    return routes.revise(engine, name, lambda current: _with_example(name, current, team, example), by)


def remove_example(engine: Engine, source: str, item_id: str, team: str, *, by: str) -> Applied:
    """Take a ticket's text out of the examples of a team again: a new version, current at once.

    No change if it is no example of that team, or the ticket's text is another by now. Raises as `add_example` does.
    """
    name, example = _example(engine, source, item_id)
    by = _said(by, "by", MAX_WHO_CHARS)
    return routes.revise(engine, name, lambda current: _without_example(name, current, team, example), by)


def _example(engine: Engine, source: str, item_id: str) -> tuple[str, str]:
    """The ticket's route set and its text."""
    of_same_item = (assignments.c.source == items.c.source) & (assignments.c.item_id == items.c.item_id)
    with translated(), engine.connect() as connection:
        found = connection.execute(
            select(items.c.text, assignments.c.route_set)
            .outerjoin(assignments, of_same_item)
            .where(items.c.source == source, items.c.item_id == item_id)
        ).one_or_none()
    if found is None or found.text is None:
        raise _unknown(source, item_id)
    return found.route_set or DEFAULT_ROUTE_SET, found.text.strip()


def _with_example(name: str, current: RouteSet | None, team: str, example: str) -> RouteSet:
    current, label = _team(name, current, team)
    if example in label.examples:
        return current
    if len(label.examples) >= MAX_EXAMPLES or len(example) > MAX_EXAMPLE_CHARS:
        raise LabelsError(f"{team!r} may have {MAX_EXAMPLES} examples of {MAX_EXAMPLE_CHARS} characters; remove one")
    return _replaced(current, label, (*label.examples, example))


def _without_example(name: str, current: RouteSet | None, team: str, example: str) -> RouteSet:
    current, label = _team(name, current, team)
    return _replaced(current, label, tuple(each for each in label.examples if each != example))


def _team(name: str, current: RouteSet | None, team: str) -> tuple[RouteSet, Label]:
    label = next((each for each in current.labels.labels if each.name == team), None) if current else None
    if current is None or label is None:
        raise LabelsError(f"route set {name!r} has no team {team!r}")
    return current, label


def _replaced(current: RouteSet, label: Label, examples: tuple[str, ...]) -> RouteSet:
    other = replace(label, examples=examples)
    return replace(current, labels=LabelSet(tuple(other if each is label else each for each in current.labels.labels)))


def _locked(connection: Connection, source: str, item_id: str) -> tuple[_Found, _Found | None, _Found | None]:
    """The item, its assignment and its current routing. Whoever writes any of them waits until we are done."""

    def one(table: Table, *which: ColumnElement[bool], lock: bool = False) -> _Found | None:
        query = select(table).where(table.c.source == source, table.c.item_id == item_id, *which)
        row = connection.execute(query.with_for_update() if lock else query).one_or_none()
        return dict(row._mapping) if row else None

    item = one(items, lock=True)
    if item is None:
        raise _unknown(source, item_id)
    assignment = one(assignments)
    routing = one(predictions, predictions.c.current, predictions.c.task == Task.ROUTING)
    if item["kind"] != Kind.TICKET and assignment is None and routing is None:
        raise PermanentError(f"{source}/{item_id} is a {item['kind']}, which no team gets; a ticket has kind ticket")
    return item, assignment, routing


def _unknown(source: str, item_id: str) -> PermanentError:
    return PermanentError(f"there is no ticket {item_id!r} of source {source!r}")


def _check_team(connection: Connection, team: str, route_set: str) -> None:
    stored = routes.read_in(connection, route_set)
    known = (*(stored.route_set.enabled.names if stored else ()), TRIAGE_TEAM)
    if team not in known:
        raise PermanentError(f"{team!r} is no team of route set {route_set!r}; its teams are: {', '.join(known)}")


def _decision(connection: Connection, routing: _Found, settings: Settings) -> Assignment:
    stored = routes.read_in(connection, routing["route_set"], routing["route_set_version"])
    return decided(
        routing["stage"],
        routing["label"],
        routing["scores"],
        labels=stored.route_set.labels if stored else LabelSet(()),
        threshold=settings.triage_threshold,
        margin=settings.triage_margin,
    )


def _move(
    connection: Connection,
    identity: tuple[str, str],
    before: _Found | None,
    after: dict[str, Any],
    *,
    by: str,
    why: str,
) -> Moved:
    """Write the assignment and its history, and tell the team if it is another than before."""
    source, item_id = identity
    key = {"source": source, "item_id": item_id}
    from_team = before["team"] if before else None
    moved = Moved(source, item_id, after["team"], after["status"], from_team)
    if before is None:
        connection.execute(insert(assignments).values(**key, **after))
    else:
        if (before["team"], before["status"]) != (after["team"], after["status"]):
            after = {**after, "changed_at": func.now()}
        connection.execute(
            update(assignments).where(assignments.c.source == source, assignments.c.item_id == item_id).values(**after)
        )
    connection.execute(
        insert(assignment_events).values(**key, who=by, from_team=from_team, to_team=moved.team, why=why)
    )
    if from_team != moved.team:
        told = {name: after[name] for name in ("team", "score", "status", "route_set", "route_set_version", "entry_id")}
        payload = {**key, **told, "updated_at": after["updated_at"].isoformat(), "from_team": from_team, "by": by}
        connection.execute(insert(outbox).values(**key, kind=Announcement.ASSIGNED, team=moved.team, payload=payload))
    return moved


def _said(value: str, what: str, most_chars: int) -> str:
    value = value.strip()
    if not value or len(value) > most_chars or "\0" in value:
        raise PermanentError(f"{what}: say it in 1 to {most_chars} characters")
    return value
