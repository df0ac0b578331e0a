"""What became of one entry: done, expired or dead. The pipeline makes outcomes, the sink writes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from schemas.errors import Code
from schemas.messages import Entry, RawEntry
from schemas.names import AssignmentStatus, Stage, Task

if TYPE_CHECKING:
    from worker.inference.scores import Vote


class Prediction(NamedTuple):
    """One task's result. `production`: whether its model is in production and may become current.

    `votes`: of a long text's windows, for those who get a reply; never stored.
    """

    task: Task
    model: str
    model_version: str
    label: str
    score: float
    scores: Mapping[str, float]
    stage: Stage
    production: bool
    queue_ms: float
    infer_ms: float
    route_set_version: int | None = None
    votes: tuple[Vote, ...] = ()


@dataclass(frozen=True, slots=True)
class Assignment:
    """The team a ticket goes to; `triage` when no team is sure enough. `why`: the rule that decided, if one did."""

    team: str
    status: AssignmentStatus
    score: float
    why: str = ""


class Done(NamedTuple):
    """Classified. `assignment` only for routing among a route set by a model in production.

    `remembered`: by `worker.memory`, and so not run.
    """

    entry: Entry
    predictions: tuple[Prediction, ...]
    assignment: Assignment | None = None
    remembered: bool = False


@dataclass(frozen=True, slots=True)
class Expired:
    """Past its deadline before it reached the model."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Dead:
    """Cannot be classified. `identity` is (source, id) where the entry has them."""

    raw: RawEntry
    code: Code
    field: str
    message: str
    identity: tuple[str, str] | None


Outcome = Done | Expired | Dead
