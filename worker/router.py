"""Which team a ticket goes to: the current route set of each name, kept fresh, and the decision by rule or scores.

Scores come from `worker.inference`; storing route sets is `worker.routes`'.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from sqlalchemy import Engine

from schemas.errors import ConditionError, DatabaseUnavailableError
from schemas.labels import LabelSet
from schemas.names import TRIAGE_TEAM, AssignmentStatus, Stage
from schemas.routes import Rule
from worker import routes
from worker.outcome import Assignment
from worker.routes import StoredVersion

log = structlog.get_logger(__name__)

_MOST_WHY_CHARS = 200


@dataclass(frozen=True, slots=True)
class RouteSetVersion:
    """What tickets are routed among: the enabled teams of one version of a route set, and its rules, in order."""

    name: str
    version: int
    labels: LabelSet
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class _Kept:
    route_set: RouteSetVersion
    checked_at_s: float


class Router:
    """The current version of each route set, looked for anew once it is `poll_s` old. Threads may share it.

    One thread looks while the others go on with what is known. While Postgres is away, what is known stays.
    """

    def __init__(self, engine: Engine, poll_s: float) -> None:
        self._engine = engine
        self._poll_s = poll_s
        self._kept: dict[str, _Kept] = {}
        self._looking = threading.Lock()

    def resolve(self, name: str) -> RouteSetVersion | None:
        """The route set's current version, at most `poll_s` late; None if it does not exist or has no enabled team.

        That a set is missing is never remembered. For a set never read before: raises DatabaseUnavailableError, and
        ConditionError if this release cannot read its rules.
        """
        kept = self._kept.get(name)
        # Whoever knows a version need not wait for another thread's look.
        if (kept is None or self._is_old(kept)) and self._looking.acquire(blocking=kept is None):
            try:
                kept = self._look(name)
            finally:
                self._looking.release()
        return kept.route_set if kept else None

    def _is_old(self, kept: _Kept) -> bool:
        return time.monotonic() - kept.checked_at_s >= self._poll_s

    def _look(self, name: str) -> _Kept | None:
        kept = self._kept.get(name)
        if kept is not None and not self._is_old(kept):
            return kept  # another thread has just looked
        now_s = time.monotonic()
        try:
            if kept is not None and routes.current_version(self._engine, name) == kept.route_set.version:
                route_set: RouteSetVersion | None = kept.route_set
            else:
                route_set = _routed(routes.read(self._engine, name))
        except DatabaseUnavailableError:
            if kept is None:
                raise
            route_set = kept.route_set
        except ConditionError as error:  # written by a newer release, or by hand
            if kept is None:
                raise
            log.error("route_set_unreadable", route_set=name, kept_version=kept.route_set.version, reason=str(error))
            route_set = kept.route_set
        if route_set is None:
            self._kept.pop(name, None)
            return None
        self._kept[name] = _Kept(route_set, now_s)
        return self._kept[name]


def _routed(stored: StoredVersion | None) -> RouteSetVersion | None:
    if stored is None:
        return None
    route_set, scored = stored.route_set, stored.route_set.scored
    return RouteSetVersion(route_set.name, stored.version, scored, route_set.rules) if scored.labels else None


def decide(scores: Mapping[str, float], labels: LabelSet, threshold: float, margin: float) -> Assignment:
    """The best team, or triage if it is not sure enough.

    `scores`: a score from 0 to 1 for at least one team. Not sure enough: the best score is below that team's
    own threshold (`threshold` for a team without), or leads the second by less than `margin`.
    """
    team = max(scores, key=scores.__getitem__)
    score = scores[team]
    second = max((other for name, other in scores.items() if name != team), default=0.0)
    own = next((label.threshold for label in labels.labels if label.name == team), None)
    if score < (threshold if own is None else own) or score - second < margin:
        return Assignment(TRIAGE_TEAM, AssignmentStatus.TRIAGE, score)
    return Assignment(team, AssignmentStatus.AUTO, score)


def decide_by(rule: Rule) -> Assignment:
    """The rule's team, or triage if that is what it says."""
    why = f"rule: {rule.when}"
    why = why if len(why) <= _MOST_WHY_CHARS else why[: _MOST_WHY_CHARS - 1] + "…"
    status = AssignmentStatus.TRIAGE if rule.team == TRIAGE_TEAM else AssignmentStatus.AUTO
    return Assignment(rule.team, status, 1.0, why)


def decided(
    stage: str, label: str, scores: Mapping[str, float], *, labels: LabelSet, threshold: float, margin: float
) -> Assignment:
    """The decision that a stored result of routing led to: `decide` on its scores, or the team of its rule."""
    if stage == Stage.RULE:
        return Assignment(label, AssignmentStatus.TRIAGE if label == TRIAGE_TEAM else AssignmentStatus.AUTO, 1.0)
    # Of equal scores the label's stood first, and Postgres keeps no order.
    return decide({label: scores[label], **scores}, labels, threshold, margin)
