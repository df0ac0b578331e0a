"""Route sets: teams to route tickets among, rules that are tried before the model, and the files that hold them.

What a label is, is `schemas.labels`'; what a condition may say, `schemas.conditions`'. Versions of route sets in
Postgres are `worker.routes`'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schemas.condition_text import parse_condition
from schemas.conditions import Condition, Facts
from schemas.errors import ConditionError, LabelsError
from schemas.labels import MAX_LABEL_CHARS, LabelSet, label_set, label_text, shown
from schemas.names import DEFAULT_ROUTE_SET, TRIAGE_TEAM
from schemas.written_file import read_written

MAX_RULES = 200
_KEYS = ("route_set", "rules", "teams")
_TEAM_KEYS = ("enabled", "by_model")


@dataclass(frozen=True, slots=True)
class Rule:
    """A ticket for which `condition` holds goes to `team`, or to triage. `when`: the condition as it was written.

    Two rules are equal that mean the same.
    """

    condition: Condition
    team: str
    when: str = field(compare=False)

    @classmethod
    def of(cls, when: str, team: str) -> Rule:
        """The rule that `when` says. Raises ConditionError."""
        return cls(parse_condition(when), team, when)

    def as_written(self) -> dict[str, str]:
        """What a routes file and Postgres hold."""
        return {"when": self.when, "team": self.team}


@dataclass(frozen=True, slots=True)
class RouteSet:
    """The teams of one route set, as a file or a version in Postgres holds them.

    `disabled` teams stay in the set, and nothing is routed to them. `unscored` teams are filled by rules and people
    alone. `rules` are in the order they are tried.
    """

    name: str
    labels: LabelSet
    disabled: frozenset[str] = frozenset()
    rules: tuple[Rule, ...] = ()
    unscored: frozenset[str] = frozenset()

    @property
    def enabled(self) -> LabelSet:
        """The teams that tickets are routed to; of what a file says there is one at least."""
        return self._without(self.disabled)

    @property
    def scored(self) -> LabelSet:
        """The teams that the model chooses among; there may be none."""
        return self._without(self.disabled | self.unscored)

    def _without(self, names: frozenset[str]) -> LabelSet:
        return LabelSet(tuple(label for label in self.labels.labels if label.name not in names))


def first_rule(rules: Sequence[Rule], facts: Facts) -> Rule | None:
    """The first rule that holds; None if none does. Never raises."""
    return next((rule for rule in rules if rule.condition.holds(facts)), None)


def route_set_of(value: object) -> RouteSet:
    """A route set from what JSON or YAML gives: `teams`, and if wanted `route_set` and `rules`; or the teams alone.

    A team may have `enabled: false` (nothing is routed to it) and `by_model: false` (only rules and people fill it)
    beside what a label may have. Raises LabelsError or ConditionError, which name
    what is wrong and the fix.
    """
    name: object = DEFAULT_ROUTE_SET
    teams, rules = value, None
    if isinstance(value, Mapping) and "teams" in value:
        unknown = sorted(str(key) for key in set(value) - set(_KEYS))
        if unknown:
            raise LabelsError(f"unknown key {unknown[0]!r:.60}; known: {', '.join(_KEYS)}")
        name, teams, rules = value.get("route_set", name), value["teams"], value.get("rules")
    elif isinstance(value, Mapping) and value and value.keys() <= set(_KEYS):
        raise LabelsError("has no teams; write teams: and below it each team with its description")
    name = label_text(name, "route_set", MAX_LABEL_CHARS)
    teams, disabled = _without(teams, "enabled")
    teams, unscored = _without(teams, "by_model")
    labels = label_set(teams, _TEAM_KEYS)
    if TRIAGE_TEAM in labels.names:
        raise LabelsError(f"{TRIAGE_TEAM!r} is where undecided tickets go; name the team otherwise")
    route_set = RouteSet(name, labels, disabled, _rules(rules, labels, disabled), unscored)
    if not route_set.enabled.labels:
        raise LabelsError("has enabled: false for every team; tickets need at least one to go to")
    if not route_set.scored.labels:
        raise LabelsError("has by_model: false for every team; tickets that no rule gives away need at least one other")
    return route_set


def read_routes_file(path: Path) -> RouteSet:
    """A routes file, YAML or JSON. Raises LabelsError or ConditionError with the file's name."""
    content = read_written(path)
    try:
        return route_set_of(content)
    except (LabelsError, ConditionError) as error:
        raise type(error)(f"{path}: {error}") from None


def read_labels_file(path: Path) -> LabelSet:
    """A labels file, YAML or JSON. A routes file, told by its `route_set` and `teams`, will do: the teams that the
    model chooses among.

    Raises LabelsError, for a routes file's rules ConditionError, with the file's name.
    """
    content = read_written(path)
    if isinstance(content, Mapping) and {"route_set", "teams"} <= content.keys() <= set(_KEYS):
        return read_routes_file(path).scored
    try:
        return label_set(content)
    except LabelsError as error:
        raise LabelsError(f"{path}: {error}") from None


def _without(teams: Any, flag: str) -> tuple[Any, frozenset[str]]:
    """`teams` without this key, and the names of those that set it to false."""
    if not isinstance(teams, Mapping):
        return teams, frozenset()
    labels: dict[Any, Any] = {}
    off = set()
    for name, details in teams.items():
        labels[name] = details
        if isinstance(details, Mapping) and flag in details:
            labels[name] = {key: value for key, value in details.items() if key != flag}
            if not isinstance(details[flag], bool):
                raise LabelsError(f"{flag} of label {name!r} must be true or false")
            if not details[flag]:
                off.add(str(name).strip())
    return labels, frozenset(off)


def _rules(value: object, labels: LabelSet, disabled: frozenset[str]) -> tuple[Rule, ...]:
    if value is None:
        return ()
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise LabelsError("rules must be a list of entries with when and team")
    if len(value) > MAX_RULES:
        raise LabelsError(f"has {len(value)} rules; at most {MAX_RULES} are allowed")
    return tuple(_rule(each, f"rule {number}", labels, disabled) for number, each in enumerate(value, 1))


def _rule(value: object, where: str, labels: LabelSet, disabled: frozenset[str]) -> Rule:
    if not isinstance(value, Mapping) or value.keys() != {"when", "team"}:
        raise LabelsError(f"{where} must have when and team, and nothing else")
    team = label_text(value["team"], f"the team of {where}", MAX_LABEL_CHARS)
    if team in disabled:
        raise LabelsError(f"{where} gives tickets to {team!r}, which is disabled; enable it or name another team")
    if team != TRIAGE_TEAM and team not in labels.names:
        known = ", ".join(name for name in labels.names if name not in disabled)
        raise LabelsError(f"{where} gives tickets to {team!r}, which is no team of this file: {known}, {TRIAGE_TEAM}")
    when = value["when"]
    if not isinstance(when, str):
        raise LabelsError(f"when of {where} must be a condition in text, not {type(when).__name__}: {shown(when)}")
    try:
        return Rule.of(when.strip(), team)
    except ConditionError as error:
        raise ConditionError(f"{where}: {error}") from None
