"""Every string that two processes share: stream keys, groups, queues, task names, kinds, tasks, states.

Values only. What the streams carry is in `schemas.messages`, what the tables hold in `schemas.tables`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Lane(enum.StrEnum):
    """The two inboxes. Live is taken before bulk; bulk gets at least its share."""

    LIVE = "live"
    BULK = "bulk"


class Kind(enum.StrEnum):
    """What an item is. A comment gets its sentiment; a ticket gets sentiment and a team."""

    COMMENT = "comment"
    TICKET = "ticket"


class Task(enum.StrEnum):
    """What the model is asked about an item."""

    SENTIMENT = "sentiment"
    ROUTING = "routing"


class ItemState(enum.StrEnum):
    """Where an item ended."""

    DONE = "done"
    EXPIRED = "expired"
    DEAD = "dead"


class ReplyStatus(enum.StrEnum):
    """What a reply says of its entry."""

    OK = "ok"
    EXPIRED = "expired"
    DEAD = "dead"
    SUPERSEDED = "superseded"


class AssignmentStatus(enum.StrEnum):
    """Who decided a ticket's team: the model, nobody yet, or a person."""

    AUTO = "auto"
    TRIAGE = "triage"
    OVERRIDDEN = "overridden"


class Stage(enum.StrEnum):
    """Which part of a model decided a result."""

    CLASSIFIER = "classifier"
    ENCODER = "encoder"
    PAIR = "pair"
    RULE = "rule"


class ModelState(enum.StrEnum):
    """What a registered model may do. Only a model in production makes current results."""

    CANDIDATE = "candidate"
    SHADOW = "shadow"
    PRODUCTION = "production"
    RETIRED = "retired"


class Announcement(enum.StrEnum):
    """What an outbox row tells the teams."""

    ASSIGNED = "assigned"


class DeliveryState(enum.StrEnum):
    """Where the delivery of one outbox row to one receiver stands."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"


class BackfillState(enum.StrEnum):
    """Where a backfill stands. Draining: all is in the inbox, and workers have not yet worked it off."""

    RUNNING = "running"
    DRAINING = "draining"
    STOPPED = "stopped"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ReviewState(enum.StrEnum):
    """What a reviewer has done with an item."""

    CLAIMED = "claimed"
    ACCEPTED = "accepted"
    CORRECTED = "corrected"
    SKIPPED = "skipped"


class ReviewOrigin(enum.StrEnum):
    """Why an item was shown to a reviewer. Only random ones speak for all items."""

    LOW_CONFIDENCE = "low_confidence"
    RANDOM = "random"


class Role(enum.StrEnum):
    """What a person may do on the web pages; each may all that those before it may."""

    VIEWER = "viewer"
    REVIEWER = "reviewer"
    ADMIN = "admin"

    def may(self, needed: Role) -> bool:
        """Whether this role is at least `needed`."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


class Measure(enum.StrEnum):
    """What an alert is about: a share of labels, scores or lengths that drifted, or results that became worse."""

    LABELS = "labels"
    CONFIDENCE = "confidence"
    LENGTH = "length"
    ACCURACY = "accuracy"


TASKS_OF_KIND = {
    Kind.COMMENT: (Task.SENTIMENT,),
    Kind.TICKET: (Task.SENTIMENT, Task.ROUTING),
}

GROUP = "classifiers"
TRIAGE_TEAM = "triage"
DEFAULT_SOURCE = "default"
DEFAULT_ROUTE_SET = "default"

QUEUE = "fenliu"
CLOCK_QUEUE = "fenliu.clock"
"""Of ticks alone, so that none waits behind a long queue of other tasks."""
TASK_ENQUEUE = "fenliu.enqueue"
TASK_TICK = "fenliu.tick"

ADVISORY_LOCK_MIGRATE = 7_305_211_001
"""Key of the Postgres advisory lock under which migrations run."""
ADVISORY_LOCK_RELAY = 7_305_211_002
"""Held by the one relay that delivers."""
ADVISORY_LOCK_ROLLUP = 7_305_211_003
"""Held while sums for dashboards are folded."""
ADVISORY_LOCK_QUALITY = 7_305_211_004
"""Held while quality is measured."""

DASHBOARD_ROLE = "fenliu_dashboard"
"""The database role that may read the views named `dash_*` and nothing else."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Redis keys under one prefix (`FENLIU_PREFIX`), so that several Fenlius can share a server."""

    prefix: str = "fenliu"

    def inbox(self, lane: Lane) -> str:
        """The stream of one inbox."""
        return f"{self.prefix}:inbox:{lane.value}"

    @property
    def inboxes(self) -> dict[Lane, str]:
        """Both inbox streams, live first."""
        return {lane: self.inbox(lane) for lane in Lane}

    @property
    def reply_prefix(self) -> str:
        """What the name of every reply stream starts with."""
        return f"{self.prefix}:reply:"

    @property
    def worker_prefix(self) -> str:
        """What the heartbeat key of every worker starts with."""
        return f"{self.prefix}:worker:"

    def worker(self, consumer: str) -> str:
        """The heartbeat of one worker: a hash that expires."""
        return f"{self.worker_prefix}{consumer}"

    def team(self, team: str) -> str:
        """The stream on which a team gets its tickets."""
        return f"{self.prefix}:team:{team}"

    def backfill(self, backfill_id: int) -> str:
        """The position of a backfill: a hash, changed in the transaction that adds a chunk."""
        return f"{self.prefix}:backfill:{backfill_id}"

    def backfill_lease(self, backfill_id: int) -> str:
        """Set while a process works on a backfill; expires with it."""
        return f"{self.prefix}:backfill:{backfill_id}:lease"

    def rate(self, caller: str) -> str:
        """What is left of a caller's rate of HTTP requests."""
        return f"{self.prefix}:rate:{caller}"

    def login_failures(self, caller: str) -> str:
        """How often a name or an address has failed to log in of late; expires."""
        return f"{self.prefix}:login:{caller}"

    @property
    def celery_prefix(self) -> str:
        """What Celery puts before its own keys."""
        return f"{self.prefix}:celery:"
